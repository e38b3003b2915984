// What is in the rack, from objects of the API. Knows neither page nor clock.

// A pod that is gone for longer is not what a new one replaces, in milliseconds.
const REPLACED_WITHIN = 60000;
const HUES = [210, 28, 150, 330, 265, 50, 185, 0, 95, 300, 235, 125];

// What the firmware of a board reports, as Prometheus names it.
const REASONS = {
  undervoltage: "voltage too low", frequency_capped: "frequency capped", throttled: "throttled", soft_temperature_limit: "too hot",
};
// Where a Pi begins to slow down, in degrees Celsius.
const HOT = 80;

export function appOf(pod) {
  const labels = pod.metadata.labels ?? {};
  return labels["app.kubernetes.io/name"] ?? labels.app ?? labels["k8s-app"] ?? labels.component
    ?? pod.metadata.ownerReferences?.[0]?.name ?? pod.metadata.name;
}

export function podState(pod) {
  if (pod.metadata.deletionTimestamp) return "ending";
  const phase = pod.status?.phase;
  if (phase === "Failed") return "failed";
  if (phase === "Succeeded") return "done";
  const waiting = (pod.status?.containerStatuses ?? []).map((status) => status.state?.waiting?.reason);
  if (waiting.some((reason) => /BackOff|^Err|Error$/.test(reason ?? ""))) return "failed";
  const ready = (pod.status?.conditions ?? []).some(({ type, status }) => type === "Ready" && status === "True");
  return phase === "Running" && ready ? "running" : "starting";
}

export function nodeState(node) {
  const ready = node.status?.conditions?.find(({ type }) => type === "Ready")?.status;
  if (ready !== "True") return "not ready";
  return node.spec?.unschedulable ? "closed to pods" : "ready";
}

export function selects(service, pod) {
  const selector = Object.entries(service.selector);
  return service.namespace === pod.namespace && selector.length > 0
    && selector.every(([key, value]) => pod.labels[key] === value);
}

function readPod(pod) {
  const system = pod.metadata.namespace.startsWith("kube-");
  return {
    // Those of the system last, those of an app side by side.
    place: `${Number(system)} ${appOf(pod)} ${pod.metadata.name}`,
    uid: pod.metadata.uid,
    name: pod.metadata.name,
    namespace: pod.metadata.namespace,
    labels: pod.metadata.labels ?? {},
    app: appOf(pod),
    node: pod.spec.nodeName ?? "",
    state: podState(pod),
    system,
  };
}

function readNode(node) {
  const labels = Object.keys(node.metadata.labels ?? {});
  return {
    name: node.metadata.name,
    address: node.status?.addresses?.find(({ type }) => type === "InternalIP")?.address ?? "",
    version: node.status?.nodeInfo?.kubeletVersion ?? "",
    architecture: node.status?.nodeInfo?.architecture ?? "",
    controlPlane: labels.some((label) => /^node-role\.kubernetes\.io\/(master|control-plane)$/.test(label)),
    state: nodeState(node),
  };
}

export class Model {
  nodes = new Map();
  pods = new Map();
  services = [];
  deployments = [];
  // How warm the boards are and why they are slowed down, by their names; of those alone that are known now.
  readings = new Map();
  news = [];
  #rack;
  #hues = new Map();
  #gone = [];
  #listed = { node: false, pod: false };

  // rack: what the inventory knows of the nodes, in the rack's order.
  constructor(rack) {
    this.#rack = new Map(rack.map((entry, place) => [entry.name, { ...entry, place }]));
    for (const entry of rack) this.nodes.set(entry.name, this.#missing(entry.name));
  }

  #missing(name) {
    const known = this.#rack.get(name);
    return { address: "", model: "", version: "", architecture: "", controlPlane: false, ...known, state: "not in the cluster" };
  }

  // Nodes in the rack's order; those that it does not know come after, by name.
  order() {
    const place = (name) => this.#rack.get(name)?.place ?? Infinity;
    return [...this.nodes.keys()].sort((a, b) => place(a) - place(b) || a.localeCompare(b, "en", { numeric: true }));
  }

  // The colour of an app: the same at each load as long as the first letters of the list are.
  hue(app) {
    if (!this.#hues.has(app)) this.#hues.set(app, HUES[this.#hues.size % HUES.length]);
    return this.#hues.get(app);
  }

  list(kind, items, now) {
    const keys = new Set(items.map(({ metadata }) => (kind === "node" ? metadata.name : metadata.uid)));
    const known = kind === "node" ? this.nodes : this.pods;
    // What vanished while nobody listened comes first, so that its replacement finds it.
    for (const key of [...known.keys()].filter((each) => !keys.has(each))) this.#remove(kind, key, now);
    if (kind === "pod") for (const app of items.map(appOf).sort()) this.hue(app);
    for (const item of items) this.#set(kind, item, now);
    this.#listed[kind] = true;
  }

  event(kind, { type, object }, now) {
    if (type === "DELETED") this.#remove(kind, kind === "node" ? object.metadata.name : object.metadata.uid, now);
    else this.#set(kind, object, now);
  }

  // boards: what Prometheus knows of them, by the inventory's names of their hosts.
  read(boards) {
    const before = this.readings;
    this.readings = new Map([...this.#rack.values()].filter(({ host }) => host in boards).map(({ host, name }) => {
      const { temperature, throttled } = boards[host];
      const reasons = throttled.map((reason) => REASONS[reason] ?? reason);
      return [name, { temperature, reasons, bad: reasons.length > 0 || temperature >= HOT }];
    }));
    for (const [name, { reasons }] of this.readings) {
      const [now, then] = [reasons.join(", "), before.get(name)?.reasons.join(", ")];
      if (then === undefined || now === then) continue;
      this.news.push(now ? { level: "bad", text: `${name} is slowed down: ${now}` } : { level: "good", text: `${name} is at full speed again` });
    }
  }

  takeNews() {
    return this.news.splice(0);
  }

  #tell(kind, level, text) {
    // The first list is how things are, not what happened.
    if (this.#listed[kind]) this.news.push({ level, text });
  }

  #set(kind, object, now) {
    if (kind === "node") this.#setNode(readNode(object));
    else this.#setPod(readPod(object), now);
  }

  #setNode(read) {
    const before = this.nodes.get(read.name);
    const node = { model: "", ...this.#rack.get(read.name), ...read };
    this.nodes.set(node.name, node);
    if (before?.state === node.state) return;
    if (!before || before.state === "not in the cluster") this.#tell("node", "good", `${node.name} joined`);
    else this.#tell("node", node.state === "ready" ? "good" : node.state === "not ready" ? "bad" : "note", `${node.name} is ${node.state}`);
  }

  #setPod(pod, now) {
    const before = this.pods.get(pod.uid);
    pod.from = before?.from;
    this.pods.set(pod.uid, pod);
    if (pod.state === "ending" && before && before.state !== "ending") this.#leave(pod, now);
    if (pod.node && !before?.node && this.#listed.pod) this.#arrive(pod, now);
    else if (pod.state === "failed" && before && before.state !== "failed") this.#tell("pod", "bad", `${pod.name} fails on ${pod.node}`);
    else if (pod.state === "running" && before && before.state === "starting") this.#tell("pod", "good", `${pod.app} runs on ${pod.node}`);
  }

  #leave(pod, now) {
    if (pod.node) this.#gone.push({ ...pod, at: now });
  }

  #arrive(pod, now) {
    this.#gone = this.#gone.filter(({ at }) => now - at < REPLACED_WITHIN);
    const same = (old) => old.app === pod.app && old.namespace === pod.namespace;
    const place = this.#gone.findIndex(same);
    if (place < 0) {
      this.#tell("pod", "note", `${pod.app} comes to ${pod.node}`);
      return;
    }
    const [old] = this.#gone.splice(place, 1);
    pod.from = old.uid;
    this.#tell("pod", "move", old.node === pod.node ? `${pod.app} is replaced on ${pod.node}` : `${pod.app} moves from ${old.node} to ${pod.node}`);
  }

  #remove(kind, key, now) {
    if (kind === "node") {
      const before = this.nodes.get(key);
      if (this.#rack.has(key)) this.nodes.set(key, this.#missing(key));
      else this.nodes.delete(key);
      if (before && before.state !== "not in the cluster") this.#tell("node", "bad", `${key} left the cluster`);
      return;
    }
    const pod = this.pods.get(key);
    if (!pod) return;
    this.pods.delete(key);
    if (pod.state !== "ending") this.#leave(pod, now);
  }
}
