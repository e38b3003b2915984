// Connects the watch, the model and the page.
import { Follower } from "./watch.js";
import { Model } from "./model.js";
import { View } from "./view.js";

const API = "k8s";
// Services and deployments are asked for at this pace, which also tells that the API server is there. Each watch
// holds one of the six connections that a browser has for a server; so only nodes and pods have one.
const PACE = 3000;
const STALE_AFTER = 8000;
// Temperatures are written at this pace; those that are four times as old are none any more.
const READINGS_PACE = 15000;

const rack = await (await fetch("rack.json", { cache: "no-store" })).json();
const model = new Model(rack.nodes);
const view = new View(document, model);
document.title = rack.title;
document.querySelector("#title").textContent = rack.title;
view.draw();

let heard = 0;
const hear = () => { heard = Date.now(); };
const followers = ["node", "pod"].map((kind) => new Follower(`${API}/api/v1/${kind}s`, {
  onHeard: hear,
  onList: (items) => { model.list(kind, items, Date.now()); view.draw(); },
  onEvent: (event) => { model.event(kind, event, Date.now()); view.draw(); },
}));
for (const follower of followers) follower.run();

async function ask(path) {
  const answer = await fetch(`${API}/${path}`, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(answer.statusText);
  return (await answer.json()).items;
}

let missed = 0;
async function beat() {
  try {
    const [services, deployments] = [await ask("api/v1/services"), await ask("apis/apps/v1/deployments")];
    missed = 0;
    hear();
    model.services = services.map(({ metadata, spec }) => ({
      uid: metadata.uid,
      name: metadata.name,
      namespace: metadata.namespace,
      selector: spec.selector ?? {},
      address: spec.clusterIP === "None" ? "no address of its own" : `${spec.clusterIP}:${spec.ports?.[0]?.port ?? ""}`,
    }));
    model.deployments = deployments.map(({ metadata, spec, status }) => ({
      name: metadata.name, desired: spec.replicas ?? 1, available: status?.availableReplicas ?? 0,
    }));
    view.draw();
  } catch {
    missed += 1;
    // A connection whose other end is gone says nothing by itself.
    if (missed % 3 === 0) for (const follower of followers) follower.restart();
  }
  setTimeout(beat, PACE);
}
beat();

// How warm the boards are, which the API does not know: a file beside the page. Both of its times are the server's.
async function read() {
  try {
    const answer = await fetch("boards.json", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    const [now, written] = ["date", "last-modified"].map((name) => Date.parse(answer.headers.get(name)));
    if (!answer.ok || !(Math.abs(now - written) < 4 * READINGS_PACE)) throw new Error("there is none");
    model.read(await answer.json());
  } catch {
    // An old figure would be worse than none.
    model.read({});
  }
  view.draw();
  setTimeout(read, READINGS_PACE);
}
if (rack.monitored) read();

setInterval(() => view.drawConnection(heard, Date.now(), STALE_AFTER), 500);
