// Draws the model. Elements stay for as long as what they show, so that they can move.
import { selects } from "./model.js";

const NEWS = 40;
const MOVE = { duration: 900, easing: "cubic-bezier(.3,.9,.3,1)" };
const FLY = { duration: 1400, easing: "cubic-bezier(.45,.05,.2,1)" };
const still = matchMedia("(prefers-reduced-motion: reduce)");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Writing what is there already would cost a layout.
function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function mark(target, name, value) {
  if (target.dataset[name] !== value) target.dataset[name] = value;
}

export class View {
  #boards = new Map();
  #chips = new Map();
  #services = new Map();
  // Where chips were that are gone: the place from which their replacements come.
  #places = new Map();
  #chosen = "";
  #hidden = false;
  #drawn = true;
  #many = false;

  constructor(page, model) {
    this.page = page;
    this.model = model;
    this.find = (selector) => page.querySelector(selector);
    this.find("#system").addEventListener("click", ({ currentTarget }) => {
      this.#hidden = !this.#hidden;
      currentTarget.setAttribute("aria-pressed", String(this.#hidden));
      this.draw();
    });
  }

  // Draw once before the next frame, however many changes come until then.
  draw() {
    if (!this.#drawn) return;
    this.#drawn = false;
    // Without a visible window there are no frames.
    const plan = this.page.hidden ? (task) => setTimeout(task, 100) : requestAnimationFrame;
    plan(() => {
      this.#drawn = true;
      this.#drawBoards();
      this.#drawServices();
      this.#drawTotals();
      this.#drawNews();
    });
  }

  drawConnection(heard, now, staleAfter) {
    const seconds = Math.round((now - heard) / 1000);
    const state = heard === 0 ? "connecting" : now - heard > staleAfter ? "stale" : "live";
    mark(this.find("#connection"), "state", state);
    mark(this.page.body, "state", state);
    write(this.find("#connection-state"), { connecting: "Connecting", stale: "Stale", live: "Live" }[state]);
    write(this.find("#heard"), heard === 0 ? "" : `last heard ${seconds} s ago`);
  }

  #drawBoards() {
    const { model } = this;
    const rack = this.find("#rack");
    const shown = [...model.pods.values()].filter((pod) => !(this.#hidden && pod.system));
    const order = model.order();
    const many = this.#many = order.length > 12 || shown.length > order.length * 20;
    mark(rack, "size", many ? "many" : order.length <= 4 ? "few" : "some");

    const desired = new Map([...order, ""].map((name) => [name, []]));
    for (const pod of shown) (desired.get(pod.node) ?? desired.get("")).push(pod);
    for (const pods of desired.values()) pods.sort((a, b) => (a.place < b.place ? -1 : 1));

    for (const [name, board] of this.#boards) {
      if (name && !desired.has(name)) {
        board.root.remove();
        this.#boards.delete(name);
      }
    }
    order.forEach((name, place) => {
      const board = this.#board(name);
      if (rack.children[place] !== board.root) rack.insertBefore(board.root, rack.children[place] ?? null);
      this.#fillBoard(board, model.nodes.get(name), desired.get(name).length);
    });
    const pending = this.find("#pending");
    pending.hidden = desired.get("").length === 0;
    if (!this.#boards.has("")) this.#boards.set("", { root: pending, pods: pending.querySelector("ul"), key: "" });
    this.#drawPods(desired);
  }

  #board(name) {
    if (!this.#boards.has(name)) {
      const id = `node-${name}`;
      const parts = {
        name: element("h3", { id }), state: element("p", { className: "state" }),
        facts: element("p", { className: "facts" }), reading: element("p", { className: "reading" }), pods: element("ul", { className: "pods" }),
      };
      const root = element("article", { className: "board" },
        element("div", { className: "head" }, parts.name, parts.state), parts.facts, parts.reading, parts.pods);
      root.setAttribute("aria-labelledby", id);
      root.dataset.node = name;
      this.#boards.set(name, { ...parts, root, key: "" });
    }
    return this.#boards.get(name);
  }

  #fillBoard(board, node, count) {
    mark(board.root, "state", node.state);
    write(board.name, node.name);
    write(board.state, node.state);
    const facts = [node.controlPlane ? "control plane" : "", node.address, node.model.replace("Raspberry ", "") || node.architecture,
      node.version, `${count} ${count === 1 ? "pod" : "pods"}`];
    // Lines break between facts, not within.
    write(board.facts, (this.#many ? facts.slice(1, 2) : facts).filter(Boolean).map((fact) => fact.replaceAll(" ", "\u00a0")).join(" · "));
    const reading = this.model.readings.get(node.name);
    const degrees = reading && reading.temperature !== null ? [`${Math.round(reading.temperature)} °C`] : [];
    mark(board.reading, "bad", String(reading?.bad ?? false));
    write(board.reading, [...degrees, ...(reading?.reasons ?? [])].map((part) => part.replaceAll(" ", "\u00a0")).join(" · "));
    board.pods.setAttribute("aria-label", `Pods on ${node.name}`);
  }

  #drawPods(desired) {
    const service = this.model.services.find(({ uid }) => uid === this.#chosen);
    const dirty = [...desired].filter(([name, pods]) => {
      const key = pods.map(({ uid }) => uid).join();
      const board = this.#boards.get(name);
      if (board.key === key) return false;
      board.key = key;
      return true;
    });
    // First: where chips are that may move. All reading comes before all writing.
    const before = new Map();
    if (!still.matches) {
      const touched = new Set(dirty.flatMap(([name, pods]) => [
        ...[...this.#boards.get(name).pods.children].map((chip) => chip.dataset.pod),
        ...pods.map(({ from }) => from),
      ]));
      for (const uid of touched) if (this.#chips.has(uid)) before.set(uid, this.#chips.get(uid).root.getBoundingClientRect());
    }
    const present = new Set([...desired.values()].flat().map(({ uid }) => uid));
    for (const [uid, chip] of this.#chips) {
      if (present.has(uid)) continue;
      if (before.has(uid)) this.#keepPlace(uid, before.get(uid));
      chip.root.remove();
      this.#chips.delete(uid);
    }
    const fresh = new Set();
    for (const [name, pods] of dirty) {
      const list = this.#boards.get(name).pods;
      pods.forEach((pod, place) => {
        if (!this.#chips.has(pod.uid)) fresh.add(pod.uid);
        const chip = this.#chip(pod);
        if (list.children[place] !== chip.root) list.insertBefore(chip.root, list.children[place] ?? null);
      });
    }
    for (const pods of desired.values()) for (const pod of pods) this.#fillChip(pod, service);
    if (!still.matches) this.#animate(dirty, before, fresh);
  }

  #chip(pod) {
    if (!this.#chips.has(pod.uid)) {
      const parts = { app: element("span", { className: "app" }), state: element("span", { className: "hidden" }) };
      const root = element("li", { className: "pod" }, parts.app, parts.state);
      root.dataset.pod = pod.uid;
      root.dataset.name = pod.name;
      root.title = `${pod.namespace}/${pod.name}`;
      root.style.setProperty("--hue", this.model.hue(pod.app));
      parts.app.dataset.short = pod.app.replace(/^kube-/, "").slice(0, 2);
      this.#chips.set(pod.uid, { ...parts, root });
    }
    return this.#chips.get(pod.uid);
  }

  #fillChip(pod, service) {
    const chip = this.#chips.get(pod.uid);
    if (chip.pod === pod && chip.service === service) return;
    Object.assign(chip, { pod, service });
    const chosen = service !== undefined && selects(service, pod);
    mark(chip.root, "state", pod.state);
    mark(chip.root, "chosen", String(chosen));
    write(chip.app, pod.app);
    write(chip.state, `, ${pod.state}${chosen ? `, behind ${service.name}` : ""}`);
  }

  // Each chip starts where it, or the one that it replaces, was.
  #animate(dirty, before, fresh) {
    const moves = [];
    for (const [name, pods] of dirty) {
      for (const pod of pods) {
        const chip = this.#chips.get(pod.uid);
        // A new pod waits for its node, which may be seen or not, before it lands there.
        const lands = pod.node !== "" && !chip.landed;
        chip.landed ||= lands;
        const own = before.get(pod.uid);
        const start = lands ? before.get(pod.from) ?? this.#places.get(pod.from) ?? own : own;
        const { root } = chip;
        moves.push({ root, start, lands, end: root.getBoundingClientRect(), board: this.#boards.get(name).root, fresh: fresh.has(pod.uid) });
      }
    }
    for (const { root, start, lands, end, board, fresh: isFresh } of moves) {
      if (!start) {
        if (isFresh && moves.length < 200) root.animate([{ opacity: 0, transform: "scale(.4)" }, { opacity: 1, transform: "none" }], MOVE);
        continue;
      }
      const [x, y] = [start.left - end.left, start.top - end.top];
      if (Math.abs(x) + Math.abs(y) < 1) continue;
      // Hundreds that make room for one cost frames, and nobody sees them.
      if (this.#many && !lands) continue;
      const from = `translate(${x}px, ${y}px)`;
      if (!lands) {
        root.animate([{ transform: from }, { transform: "none" }], MOVE);
        continue;
      }
      // Over the other boards, not under them.
      board.classList.add("landing");
      root.classList.add("flying");
      const half = `translate(${x / 2}px, ${y / 2 - 24}px) scale(1.25)`;
      root.animate([{ transform: from }, { transform: half }, { transform: "none" }], FLY).finished
        .catch(() => {})
        .finally(() => { root.classList.remove("flying"); board.classList.remove("landing"); });
    }
  }

  #keepPlace(uid, place) {
    this.#places.set(uid, place);
    if (this.#places.size > 500) this.#places.delete(this.#places.keys().next().value);
  }

  #drawServices() {
    const list = this.find("#services");
    const services = this.model.services.filter(({ namespace }) => !(this.#hidden && namespace.startsWith("kube-")))
      .sort((a, b) => a.name.localeCompare(b.name));
    const pods = [...this.model.pods.values()];
    const present = new Set(services.map(({ uid }) => uid));
    for (const [uid, entry] of this.#services) {
      if (!present.has(uid)) {
        entry.root.remove();
        this.#services.delete(uid);
      }
    }
    services.forEach((service, place) => {
      const entry = this.#service(service.uid);
      if (list.children[place] !== entry.root) list.insertBefore(entry.root, list.children[place] ?? null);
      const behind = pods.filter((pod) => pod.state !== "ending" && selects(service, pod));
      entry.button.setAttribute("aria-pressed", String(this.#chosen === service.uid));
      write(entry.name, service.name);
      write(entry.address, service.address);
      const ready = behind.filter(({ state }) => state === "running").length;
      write(entry.count, Object.keys(service.selector).length === 0 ? "selects no pods" : `${ready} of ${behind.length} pods ready`);
      if (behind[0]) entry.button.style.setProperty("--hue", this.model.hue(behind[0].app));
      entry.button.classList.toggle("coloured", behind.length > 0);
    });
  }

  #service(uid) {
    if (!this.#services.has(uid)) {
      const parts = { name: element("strong"), address: element("span"), count: element("span") };
      const button = element("button", { type: "button" }, parts.name, parts.address, parts.count);
      button.addEventListener("click", () => {
        this.#chosen = this.#chosen === uid ? "" : uid;
        this.draw();
      });
      this.#services.set(uid, { ...parts, button, root: element("li", {}, button) });
    }
    return this.#services.get(uid);
  }

  #drawTotals() {
    const count = (entries, test) => `${entries.filter(test).length} of ${entries.length}`;
    const { nodes, pods, deployments } = this.model;
    write(this.find("#nodes-ready"), count([...nodes.values()], ({ state }) => state === "ready" || state === "closed to pods"));
    write(this.find("#pods-running"), count([...pods.values()], ({ state }) => state === "running"));
    write(this.find("#deployments-ready"), count(deployments, ({ desired, available }) => available >= desired));
  }

  #drawNews() {
    const list = this.find("#news");
    for (const { level, text } of this.model.takeNews().slice(-NEWS)) {
      const entry = element("li", {}, element("time", { textContent: new Date().toLocaleTimeString("en-GB") }), ` ${text}`);
      entry.dataset.level = level;
      list.prepend(entry);
    }
    while (list.children.length > NEWS) list.lastChild.remove();
  }
}
