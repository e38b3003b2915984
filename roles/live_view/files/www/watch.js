// Following a kind of object: list, then watch from the list's resourceVersion, for ever.

export const FIRST = { phase: "list", version: "", failures: 0 };

// What to do after an answer of the API server. Knows neither network nor clock.
export function next(state, input) {
  switch (input.type) {
    case "listed":
      return { phase: "watch", version: input.version, failures: 0 };
    case "event":
      if (input.event.type === "ERROR") {
        // 410 Gone: the server has forgotten this version; anything else is not worth guessing either.
        return { phase: "list", version: "", failures: input.event.object?.code === 410 ? 0 : state.failures + 1 };
      }
      return { ...state, version: input.event.object.metadata.resourceVersion, failures: 0 };
    case "ended":
      return state;
    case "failed":
      if (input.status === 410) return { phase: "list", version: "", failures: 0 };
      // A server that was set up again may not know the version, and says so in other ways too.
      return state.failures < 2 ? { ...state, failures: state.failures + 1 } : { phase: "list", version: "", failures: state.failures + 1 };
    default:
      throw new Error(`unknown input ${input.type}`);
  }
}

// Milliseconds before the next try: doubled up to ten seconds, spread so that pages do not come all at once.
export function delay(failures, random = Math.random()) {
  return failures === 0 ? 0 : Math.min(10000, 500 * 2 ** (failures - 1)) * (0.5 + random / 2);
}

export function url(path, state) {
  return state.phase === "list"
    ? path
    : `${path}?watch=1&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=${state.version}`;
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts.filter(Boolean);
  }
}

export class Follower {
  #abort = new AbortController();

  // onList gets all objects, onEvent one change, onHeard nothing: something has come.
  constructor(path, { onList, onEvent, onHeard }) {
    Object.assign(this, { path, onList, onEvent, onHeard });
  }

  // Give a connection up that may be dead without saying so.
  restart() {
    this.#abort.abort();
  }

  async run() {
    let state = FIRST;
    for (;;) {
      try {
        state = await this.#round(state);
      } catch (error) {
        state = next(state, { type: "failed", status: error.status });
      }
      // Also a server that ends each watch at once is not asked without a pause.
      await new Promise((resolve) => setTimeout(resolve, Math.max(100, delay(state.failures))));
    }
  }

  async #round(state) {
    this.#abort = new AbortController();
    const answer = await fetch(url(this.path, state), { signal: this.#abort.signal, cache: "no-store" });
    if (!answer.ok) throw Object.assign(new Error(answer.statusText), { status: answer.status });
    if (state.phase === "list") {
      const list = await answer.json();
      this.onHeard();
      this.onList(list.items);
      return next(state, { type: "listed", version: list.metadata.resourceVersion });
    }
    for await (const line of lines(answer.body)) {
      const event = JSON.parse(line);
      this.onHeard();
      state = next(state, { type: "event", event });
      if (state.phase === "list") return state;
      if (event.type !== "BOOKMARK") this.onEvent(event);
    }
    return next(state, { type: "ended" });
  }
}
