// The page: the form, the wait, the result. `/job/<id>` is a job's address.

import { ask, byId, clock, duration, make, pause, size } from "./dom.js";
import { Mixer, decibels, shown } from "./mixer.js";

const VIEWS = ["start", "asking", "progress", "result"];
const QUALITIES = {
  fast: ["Fast", "Long chunks that overlap little."],
  standard: ["Standard", "The model's own way."],
  authors: ["The authors'", "As the model's authors do it."],
};
const FORMATS = {
  wav: "WAV, same depth",
  wav24: "WAV, 24 bits",
  float: "WAV, 32 bits float",
  flac: "FLAC",
};
const EXTRAS = {
  residual: "What is left over",
  report: "Report of loudness and peaks",
  markers: "Markers of dialogue",
};
const DELIVERABLES = {
  me: "M&E draft (music + effects)",
  dialogue: "Dialogue",
  optionals: "Optionals (singing)",
};
const REMUXES = {
  mkv: "MKV, stems in FLAC",
  mov: "MOV, stems in PCM",
  mp4: "MP4, stems in AAC",
};
const FILES = {
  film: "Film with the stems as tracks",
  report: "Report (JSON)",
  page: "Report (page)",
  mix: "Your mix",
  markers_csv: "Markers (CSV)",
  markers_edl: "Markers (EDL)",
};
const KEY = "keras-bandit-jobs";
const SECONDS_BETWEEN_LOOKS = 0.7;

let choices = null;
let chosen = null; // {file} or {path}, of the form
let mixer = null;
let current = 0; // which view is followed
let upload = null;

// What a page may forget.

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || [];
  } catch {
    return [];
  }
}

function remember(jobs) {
  try {
    localStorage.setItem(KEY, JSON.stringify(jobs.slice(0, 12)));
  } catch {
    // private windows keep nothing
  }
}

const forget = (id) => remember(remembered().filter((job) => job.id !== id));

// Views.

function show(name, title) {
  current += 1;
  mixer?.close();
  mixer = null;
  byId("save-mix").disabled = true;
  byId("mix-note").textContent = "";
  say("");
  for (const view of VIEWS) byId(view).hidden = view !== name;
  document.title = title ? `${title} – keras-bandit` : "keras-bandit";
  const heading = byId(name).querySelector("h1");
  heading.focus({ preventScroll: true });
  scrollTo(0, 0);
  return current;
}

function say(message) {
  byId("message").hidden = !message;
  byId("message").textContent = message;
}

function go(address) {
  history.pushState(null, "", address);
  route();
}

function route() {
  const job = /^\/job\/([0-9a-f]{32})$/.exec(location.pathname);
  if (job) follow(job[1]);
  else start();
}

// The form.

function option(kind, group, value, label, checked) {
  const input = make("input", { type: kind, name: group, value, checked });
  return make("label", { className: "chip" }, input, label);
}

const values = (group) =>
  [...document.querySelectorAll(`input[name="${group}"]:checked`)].map((input) => input.value);

const model = () => choices.models.find(({ name }) => name === values("model")[0]);

function fillForm() {
  const models = choices.models.map((one, i) => {
    const facts = [one.licence, one.bytes === null ? "will be fetched" : size(one.bytes)];
    return make(
      "label",
      { className: "model" },
      make("input", { type: "radio", name: "model", value: one.name, checked: i === 0 }),
      make("strong", {}, one.name),
      make("span", {}, one.description),
      make("span", {}, one.stems.join(", ")),
      make("span", {}, facts.filter(Boolean).join(" · ")),
    );
  });
  byId("models").replaceChildren(...models);
  byId("models").addEventListener("change", fillChoices);
  byId("qualities").addEventListener("change", noteQuality);
  byId("format").replaceChildren(
    ...choices.formats.map((name) => make("option", { value: name }, FORMATS[name])),
  );
  byId("remux").replaceChildren(
    make("option", { value: "" }, "None"),
    ...choices.remuxes.map((name) => make("option", { value: name }, REMUXES[name])),
  );
  byId("remux-set").hidden = !choices.remuxes.length;
  const hours = choices.max_seconds / 3600;
  byId("limits").textContent = `Up to ${Number(hours.toFixed(2))} hours and ${size(choices.max_bytes)}. Nothing leaves the machine that runs this page.`;
  byId("browse").hidden = !choices.has_root;
  fillChoices();
}

// What a quality means for the chosen model, and what it costs.
function noteQuality() {
  const name = values("quality")[0];
  const { chunk_seconds, hop_seconds, work, shifts } = model().qualities[name];
  const times = (number) => `${Number(number.toFixed(1))}`;
  const parts = [QUALITIES[name][1]];
  if (shifts) parts.push("The recording is shifted by chance once.");
  parts.push(
    `Chunks of ${times(chunk_seconds)} s, one every ${times(hop_seconds)} s: each second is computed ${times(work)} times.`,
  );
  const { standard } = model().qualities;
  const less = 1 - work / standard.work;
  if (less > 0.01) parts.push(`That is ${Math.round(100 * less)} % less than Standard.`);
  if (less < -0.01) parts.push(`That is ${times(1 - less)} times the work of Standard, for a little more quality.`);
  const memory = chunk_seconds / standard.chunk_seconds;
  if (memory > 1.01) parts.push(`It takes ${times(memory)} times the memory.`);
  byId("quality-note").textContent = parts.join(" ");
}

// What depends on the model.
function fillChoices() {
  const { stems, qualities, deliverables, extras } = model();
  const fill = (id, group, names, words) => {
    const kept = values(group);
    byId(id).replaceChildren(
      ...names.map((name) => option("checkbox", group, name, words[name], kept.includes(name))),
    );
    byId(`${id}-set`).hidden = !names.length;
  };
  byId("stems").replaceChildren(
    ...stems.map((stem) => option("checkbox", "stem", stem, shown(stem), true)),
  );
  fill("deliver", "deliver", deliverables, DELIVERABLES);
  fill("extras", "extra", extras, EXTRAS);
  const quality = values("quality")[0];
  const wanted = quality in qualities ? quality : "standard";
  byId("qualities").replaceChildren(
    ...Object.keys(qualities).map((name) =>
      option("radio", "quality", name, QUALITIES[name][0], name === wanted),
    ),
  );
  noteQuality();
}

function choose(what, name, bytes) {
  chosen = what;
  byId("chosen").textContent = bytes ? `${name} (${size(bytes)})` : name;
  byId("go").disabled = false;
  say("");
  if (what.file && bytes > choices.max_bytes) {
    say(`${name} is too large: this server takes ${size(choices.max_bytes)}.`);
    byId("go").disabled = true;
  }
}

async function start() {
  const view = show("start", "");
  showRecent();
  try {
    choices ||= await ask("/api/choices");
  } catch (error) {
    say(`The server does not answer: ${error.message}`);
    return;
  }
  if (view === current && !byId("models").children.length) fillForm();
}

function showRecent() {
  const jobs = remembered();
  byId("recent").hidden = !jobs.length;
  byId("recent-list").replaceChildren(
    ...jobs.map(({ id, title, created }) =>
      make(
        "li",
        {},
        make("a", { href: `/job/${id}` }, title),
        make("span", { className: "quiet" }, new Date(created).toLocaleString()),
      ),
    ),
  );
}

async function submit(event) {
  event.preventDefault();
  if (!chosen) return;
  const request = {
    model: values("model")[0],
    stems: values("stem"),
    deliver: values("deliver"),
    quality: values("quality")[0],
    format: byId("format").value,
    extras: values("extra"),
    remux: byId("remux").value || null,
  };
  if (!request.stems.length && !request.deliver.length) {
    say("Choose at least one stem.");
    return;
  }
  const query = new URLSearchParams({ request: JSON.stringify(request) });
  const title = chosen.file ? chosen.file.name : chosen.path.split("/").at(-1);
  query.set(chosen.file ? "name" : "path", chosen.file ? chosen.file.name : chosen.path);
  const view = waitFor(title, "Sending the file");
  try {
    const { id } = await send(`/api/jobs?${query}`, chosen.file, (part) => {
      if (view === current) showPart(part, part < 1 ? "Sending the file" : "Looking at the file");
    });
    remember([{ id, title, created: Date.now() }, ...remembered()]);
    chosen = null;
    byId("file").value = "";
    byId("chosen").textContent = "Drop a film or a recording here";
    byId("go").disabled = true;
    if (view === current) go(`/job/${id}`);
  } catch (error) {
    if (view !== current) return;
    await start();
    if (error.message) say(error.message);
  }
}

// A request whose progress can be seen: `fetch` does not tell.
function send(address, file, progress) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    upload = request;
    request.open("POST", address);
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => progress(loaded / total);
    request.onload = () => {
      upload = null;
      if (request.status === 201) done(request.response);
      else fail(new Error(request.response?.error || `The server answered ${request.status}.`));
    };
    request.onerror = () => {
      upload = null;
      fail(new Error("The server does not answer, or it has closed the connection."));
    };
    request.onabort = () => {
      upload = null;
      fail(new Error(""));
    };
    request.send(file || null);
  });
}

// The wait.

function waitFor(title, state) {
  const view = show("progress", title);
  byId("progress-title").textContent = title;
  byId("progress-note").hidden = true;
  byId("cancel").disabled = false;
  showPart(null, state);
  return view;
}

function showPart(part, state, left = null) {
  const bar = byId("bar");
  if (part === null) bar.removeAttribute("value");
  else bar.value = part;
  if (byId("progress-state").textContent !== state) byId("progress-state").textContent = state;
  const words = [];
  if (part !== null) words.push(`${Math.floor(100 * part)} %`);
  if (left !== null) words.push(`about ${duration(left)} left`);
  byId("progress-left").textContent = words.join(", ");
}

function stateOf(job) {
  if (job.state === "waiting") {
    if (!job.ahead) return "Next in the queue";
    return `Number ${job.ahead + 1} in the queue`;
  }
  const stages = { loading: "Loading the model", separating: "Separating", drawing: "Drawing the stems" };
  return stages[job.stage] || "Beginning";
}

async function follow(id) {
  const view = waitFor("", "Looking for the job");
  byId("cancel").disabled = true;
  const address = `/api/jobs/${id}`;
  while (view === current) {
    let job;
    try {
      job = await ask(address);
    } catch (error) {
      if (view !== current) return;
      if (error.status) {
        if (error.status === 404) forget(id);
        history.replaceState(null, "", "/");
        await start();
        say(`${error.message[0].toUpperCase()}${error.message.slice(1)}.`);
        return;
      }
      showPart(null, "The server does not answer; trying again");
      await pause(2000);
      continue;
    }
    if (view !== current) return;
    if (job.state === "asking") {
      askTrack(job, address);
      return;
    }
    if (job.state === "done") {
      await showResult(job, address);
      return;
    }
    if (job.state === "failed") {
      history.replaceState(null, "", "/");
      await start();
      say(`${job.title}: ${job.error}`);
      return;
    }
    byId("progress-title").textContent = job.title;
    byId("progress-note").hidden = false;
    byId("cancel").disabled = false;
    byId("cancel").onclick = () => remove(id, address);
    showPart(job.progress || null, stateOf(job), job.seconds_left);
    const part = job.progress === null ? "" : `${Math.floor(100 * job.progress)} % `;
    document.title = `${part}${job.title} – keras-bandit`;
    await pause(1000 * SECONDS_BETWEEN_LOOKS);
  }
}

// Which sound track of a film is meant.

function askTrack(job, address) {
  show("asking", job.title);
  byId("asking-title").textContent = job.title;
  const { tracks, track, joined } = job.media;
  const row = (value, checked, name, facts) =>
    make(
      "label",
      { className: "model" },
      make("input", { type: "radio", name: "track", value: JSON.stringify(value), checked }),
      make("strong", {}, name),
      make("span", {}, facts),
    );
  const rows = tracks.map(({ number, title, language, codec, layout }) =>
    row(
      number,
      number === track,
      title ? `${number}: ${title}` : `Track ${number}`,
      [language, layout, codec, number === track ? "preferred by the film" : ""].filter(Boolean).join(" · "),
    ),
  );
  if (joined !== null) {
    const all = tracks.map(({ number }) => number);
    const layout = joined === "unknown" ? "of unknown layout" : joined;
    rows.push(row(all, false, "All, as channels of one recording", layout));
  }
  byId("tracks").replaceChildren(...rows);
  byId("track-cancel").onclick = () => remove(job.id, address);
  byId("track-form").onsubmit = async (event) => {
    event.preventDefault();
    const body = JSON.stringify({ track: JSON.parse(values("track")[0]) });
    try {
      await ask(`${address}/track`, { method: "POST", body });
    } catch (error) {
      if (error.status !== 409) {
        say(error.message);
        return;
      }
    }
    follow(job.id);
  };
}

async function remove(id, address) {
  try {
    await ask(address, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) {
      say(error.message);
      return;
    }
  }
  forget(id);
  go("/");
}

// The result.

async function showResult(job, address) {
  const view = show("result", job.title);
  byId("result-title").textContent = job.title;
  const { media, request } = job;
  byId("result-facts").textContent = [
    media.seconds === null ? null : clock(media.seconds),
    `${media.sample_rate / 1000} kHz`,
    media.layout === "unknown" ? `${media.num_channels} channels` : media.layout,
    media.tracks?.length > 1 ? `track ${[media.track].flat().join(", ")}` : null,
    request.model,
    job.started && job.ended ? `separated in ${duration(job.ended - job.started)}` : null,
  ]
    .filter(Boolean)
    .join(" · ");
  const warnings = [...job.warnings];
  if (media.num_channels > 2) {
    warnings.push(`You hear a stereo downmix. The files keep all ${media.num_channels} channels.`);
  }
  byId("warnings").hidden = !warnings.length;
  byId("warnings").replaceChildren(...warnings.map((line) => make("li", {}, line)));
  listFiles(job, address);
  byId("remove").onclick = () => remove(job.id, address);
  try {
    const look = await ask(`${address}/look`);
    if (view !== current) return;
    mixer = new Mixer(byId("mixer"), job, look, address, say);
    byId("mixer").mixer = mixer;
    byId("save-mix").disabled = false;
    byId("save-mix").onclick = () => saveMix(job.id, address);
  } catch (error) {
    say(error.message);
  }
}

function listFiles(job, address) {
  const rows = Object.entries(job.files).map(([name, file]) => {
    const links = [
      make("a", { href: `${address}/files/${encodeURIComponent(name)}`, download: "" }, FILES[name] || shown(name)),
    ];
    if (name === "page") {
      const open = { href: `${address}/report/${encodeURIComponent(file.file)}`, target: "_blank", "aria-label": "Open the report" };
      links.push(" ", make("a", open, "Open"));
    }
    const levels = Object.entries(name === "mix" ? job.mix : {});
    const facts = [
      ...levels.map(([stem, db]) => `${shown(stem)} ${decibels(db)}`),
      file.file,
      size(file.bytes),
    ];
    return make("li", {}, make("span", {}, ...links), make("span", { className: "quiet" }, facts.join(" · ")));
  });
  rows.push(
    make("li", {}, make("a", { href: `${address}/zip`, download: "" }, "All as one zip")),
  );
  byId("files").replaceChildren(...rows);
}

// What is heard, as a file: whole, with all channels.
async function saveMix(id, address) {
  const view = current;
  const note = (text) => {
    byId("mix-note").textContent = text;
  };
  const gains_db = mixer.gains();
  if ("original" in gains_db) {
    note("Mute the original first: a mix is made of the stems.");
    return;
  }
  if (!Object.keys(gains_db).length) {
    note("Nothing is heard.");
    return;
  }
  byId("save-mix").disabled = true;
  note("Mixing");
  try {
    await ask(`${address}/mix`, { method: "POST", body: JSON.stringify({ gains_db }) });
    const job = await ask(address);
    if (view !== current) return;
    listFiles(job, address);
    note("Saved: see Your mix below.");
    byId("files").querySelector('a[href$="/files/mix"]').click();
  } catch (error) {
    if (view === current) note(error.message);
  }
  if (view === current) byId("save-mix").disabled = false;
}

// Files of the server.

async function browse(path) {
  let entries;
  try {
    entries = await ask(`/api/root?${new URLSearchParams({ path })}`);
  } catch (error) {
    byId("server-files").close();
    say(error.message);
    return;
  }
  byId("server-path").textContent = path || "All that may be picked";
  const rows = entries.map((entry) => {
    const inside = path ? `${path}/${entry.name}` : entry.name;
    const note = entry.is_folder ? "folder" : size(entry.bytes);
    const button = make("button", { type: "button" }, entry.name, make("span", { className: "quiet" }, note));
    button.addEventListener("click", () => {
      if (entry.is_folder) browse(inside);
      else {
        choose({ path: inside }, entry.name, entry.bytes);
        byId("server-files").close();
        byId("go").focus();
      }
    });
    return make("li", {}, button);
  });
  if (path) {
    const up = make("button", { type: "button" }, "One folder up");
    up.addEventListener("click", () => browse(path.split("/").slice(0, -1).join("/")));
    rows.unshift(make("li", {}, up));
  }
  if (!rows.length) rows.push(make("li", { className: "quiet" }, "Nothing is here."));
  byId("server-list").replaceChildren(...rows);
  if (!byId("server-files").open) byId("server-files").showModal();
}

// Light and dark.

const dark = matchMedia("(prefers-color-scheme: dark)");

function paint() {
  let wanted = null;
  try {
    wanted = localStorage.getItem("keras-bandit-theme");
  } catch {
    // as the system has it
  }
  const theme = wanted || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", theme === "dark" ? "Light colours" : "Dark colours");
}

byId("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("keras-bandit-theme", next);
  } catch {
    // for this view alone
  }
  paint();
  document.documentElement.dataset.theme = next;
});
dark.addEventListener("change", paint);
paint();

// What is dropped anywhere counts.

addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
addEventListener("dragleave", () => byId("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file && choices && !byId("start").hidden) choose({ file }, file.name, file.size);
});
byId("file").addEventListener("change", () => {
  const file = byId("file").files[0];
  if (file) choose({ file }, file.name, file.size);
});
byId("form").addEventListener("submit", submit);
byId("cancel").addEventListener("click", () => upload?.abort());
byId("browse").addEventListener("click", () => browse(""));
byId("server-close").addEventListener("click", () => byId("server-files").close());
addEventListener("popstate", route);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const { pathname, origin } = new URL(link.href);
  if (origin === location.origin && (pathname === "/" || pathname.startsWith("/job/"))) {
    event.preventDefault();
    go(pathname);
  }
});
route();
