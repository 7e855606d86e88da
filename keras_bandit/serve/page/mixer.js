// A row for each sound: envelope, spectrogram, volume, mute, solo; one clock.

import { clock, make, makeSvg } from "./dom.js";
import { Player } from "./player.js";

const COLORS = { speech: 0, vocals: 0, music: 1, effects: 2, sfx: 2, singing: 3 };
// What is heard in other rows already.
const SILENT_FIRST = new Set(["original", "me", "dialogue", "optionals", "residual"]);
const SHOWN = { me: "M&E draft", mne: "music + effects" };
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const MOST_STEPS = 8; // of the axis
const LOWEST = -40; // dB of the faders; the lowest place is silence
const PLAY = "M4 2v20l18-10z";
const PAUSE = "M4 2h6v20H4zM14 2h6v20h-6z";
const LOUD = "M3 9v6h4l6 5V4L7 9zM16 8v8a5 5 0 0 0 0-8z";
const TOLERANCE = 0.04; // seconds by which a picture may be off: a frame

export const shown = (name) => SHOWN[name] || name.replaceAll("_", " ");

export const decibels = (db) => `${db.toFixed(1).replace("-", "\u2212")} dB`;

const gainOf = (db) => (db <= LOWEST ? 0 : 10 ** (db / 20));

export class Mixer {
  // `look`: what the server drew; `address`: of the job.
  constructor(element, job, look, address, onFailure) {
    const names = job.sounds;
    this.element = element;
    this.player = new Player(
      names,
      {
        sampleRate: look.sample_rate,
        seconds: look.num_samples / look.sample_rate,
        pieceSeconds: look.piece_seconds,
      },
      async (name, index) => {
        const answer = await fetch(
          `${address}/sounds/${encodeURIComponent(name)}/${index}`,
        );
        if (!answer.ok) throw new Error("the sound cannot be fetched");
        return answer.arrayBuffer();
      },
    );
    this._look = look;
    this._address = address;
    this._rows = {};
    this._current = null;
    this._buffer = new Float32Array(2048);
    this._build(names, job.media.has_picture);
    this.player.addEventListener("change", () => this._update());
    this.player.addEventListener("failure", (event) =>
      onFailure(event.detail.message),
    );
    this._onKey = (event) => this._key(event);
    document.addEventListener("keydown", this._onKey);
    this._update();
    this._draw();
  }

  close() {
    this._closed = true;
    document.removeEventListener("keydown", this._onKey);
    this.player.close();
    this.element.replaceChildren();
  }

  _build(names, hasPicture) {
    const box = make("div", { className: "mixer", role: "group" });
    box.setAttribute("aria-label", "Mixer");
    this._box = box;
    if (hasPicture) box.append(this._makeFilm());
    let free = 4;
    const list = make("ul", { className: "rows" });
    list.append(this._makeAxis());
    this._keys = {};
    let number = 1;
    for (const name of names) {
      let color = COLORS[name];
      if (color === undefined) color = SILENT_FIRST.has(name) ? 5 : free++ % 5;
      const key = name === "original" ? "0" : String(number++);
      list.append(this._makeRow(name, key, `var(--c${color})`));
      if (key.length === 1) this._keys[key] = this._rows[name];
    }
    box.append(list, this._makeTransport());
    const keys = make("p", { className: "keys" });
    for (const [key, what] of [
      ["space", "play"],
      ["0–9", "choose a row"],
      ["m", "mute"],
      ["s", "solo"],
      ["↑ ↓", "volume"],
      ["← →", "5 s"],
      ["home", "start"],
    ]) {
      keys.append(make("kbd", {}, key), ` ${what}  `);
    }
    this._status = make("p", { className: "hidden", role: "status" });
    this.element.replaceChildren(this._makeViews(), box, keys, this._status);
  }

  _makeFilm() {
    const film = make("video", {
      className: "film",
      src: `${this._address}/picture`,
      muted: true,
      playsInline: true,
      preload: "auto",
      tabIndex: -1,
    });
    film.setAttribute("aria-label", "Picture of the film");
    const cannot = () => {
      film.replaceWith(
        make(
          "p",
          { className: "quiet controls" },
          "This browser cannot show the film's picture.",
        ),
      );
      this._film = null;
    };
    film.addEventListener("error", cannot);
    film.addEventListener("loadedmetadata", () => film.videoWidth || cannot());
    this._film = film;
    return film;
  }

  _makeViews() {
    const views = make("div", { className: "segments views", role: "group" });
    views.setAttribute("aria-label", "What is drawn");
    for (const [kind, label] of [
      ["", "Both"],
      ["waves", "Waveforms"],
      ["spectra", "Spectrograms"],
    ]) {
      const button = make("button", { type: "button" }, label);
      button.setAttribute("aria-pressed", String(kind === ""));
      button.addEventListener("click", () => {
        this._box.classList.remove("waves", "spectra");
        if (kind) this._box.classList.add(kind);
        for (const other of views.children) {
          other.setAttribute("aria-pressed", String(other === button));
        }
      });
      views.append(button);
    }
    return views;
  }

  _makeAxis() {
    const { seconds } = this.player;
    const step = STEPS.find((one) => seconds / one <= MOST_STEPS) || seconds;
    const axis = make("div", { className: "axis" });
    for (let at = 0; at < seconds; at += step) {
      const label = make("span", {}, clock(at, step < 1 ? 1 : 0));
      label.style.left = `${(100 * at) / seconds}%`;
      if (at / seconds < 0.94) axis.append(label);
    }
    return make("li", { className: "axis-row", "aria-hidden": "true" }, axis);
  }

  _makeRow(name, key, color) {
    const label = shown(name);
    const row = { name, muted: SILENT_FIRST.has(name), solo: false, db: 0 };
    const element = make("li", { className: "row" });
    element.style.setProperty("--color", color);
    row.element = element;
    row.title = make(
      "button",
      { className: "name", type: "button" },
      make("kbd", { "aria-hidden": "true" }, key.length === 1 ? key : "·"),
      make("span", {}, label),
    );
    row.title.setAttribute("aria-label", `Choose ${label}`);
    row.title.addEventListener("click", () => this._choose(row));
    row.mute = this._makeToggle("mute", "M", `Mute ${label}`, () => this.mute(name));
    row.soloButton = this._makeToggle("solo", "S", `Solo ${label}`, () => this.solo(name));
    row.fader = make("input", {
      type: "range",
      min: LOWEST,
      max: 6,
      step: 0.5,
      value: 0,
      className: "volume",
    });
    row.fader.setAttribute("aria-label", `Volume of ${label}`);
    row.fader.addEventListener("input", () => this.volume(name, Number(row.fader.value)));
    row.fader.addEventListener("dblclick", () => this.volume(name, 0));
    row.output = make("output", { "aria-hidden": "true" });
    row.meter = make("i");
    const controls = make(
      "div",
      { className: "controls" },
      row.title,
      row.mute,
      row.soloButton,
      make("div", { className: "fader" }, row.fader, row.output),
      make("div", { className: "meter", "aria-hidden": "true" }, row.meter),
    );
    element.append(controls, this._makePictures(row, label));
    this._rows[name] = row;
    return element;
  }

  _makePictures(row, label) {
    row.playhead = make("div", { className: "playhead" });
    const sound = this._look.sounds[row.name];
    const wave = makeSvg(
      "svg",
      {
        viewBox: `0 -1000 ${sound.width} 2000`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": `Waveform of ${label}`,
      },
      makeSvg("path", { d: sound.envelope }),
    );
    const spectrogram = make("img", {
      src: `${this._address}/look/${encodeURIComponent(row.name)}`,
      alt: `Spectrogram of ${label}`,
      draggable: false,
    });
    const pictures = make("div", { className: "pictures" }, wave, spectrogram, row.playhead);
    const seek = (event) => {
      const { left, width } = pictures.getBoundingClientRect();
      this.player.seek(((event.clientX - left) / width) * this.player.seconds);
    };
    pictures.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      seek(event);
      if (event.pointerType === "mouse") pictures.setPointerCapture(event.pointerId);
    });
    pictures.addEventListener("pointermove", (event) => {
      if (pictures.hasPointerCapture(event.pointerId)) seek(event);
    });
    return pictures;
  }

  _makeToggle(kind, text, label, press) {
    const button = make("button", { type: "button", className: `toggle ${kind}` }, text);
    button.setAttribute("aria-label", label);
    button.title = label;
    button.addEventListener("click", press);
    return button;
  }

  _makeTransport() {
    this._icon = makeSvg("path", { d: PLAY });
    this._play = make(
      "button",
      { type: "button", className: "play" },
      makeSvg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, this._icon),
    );
    this._play.addEventListener("click", () => this.toggle());
    this._time = make("span", { className: "time" });
    this._seek = make("input", {
      type: "range",
      className: "seek",
      min: 0,
      max: this.player.seconds,
      step: 0.01,
      value: 0,
    });
    this._seek.setAttribute("aria-label", "Place");
    this._seek.addEventListener("input", () => this.player.seek(Number(this._seek.value)));
    const all = make("input", { type: "range", min: LOWEST, max: 6, step: 0.5, value: 0 });
    all.setAttribute("aria-label", "Volume of all");
    this._master = 0;
    all.addEventListener("input", () => {
      this._master = Number(all.value);
      this.player.setMaster(gainOf(this._master));
    });
    const icon = makeSvg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, makeSvg("path", { d: LOUD }));
    const volume = make("div", { className: "all" }, icon, all);
    return make("div", { className: "transport" }, this._play, this._time, this._seek, volume);
  }

  // The dB of each row that is heard.
  gains() {
    const rows = gainOf(this._master) > 0 ? Object.values(this._rows) : [];
    const heard = rows.filter((row) => row.level > 0);
    return Object.fromEntries(heard.map((row) => [row.name, row.db + this._master]));
  }

  toggle() {
    if (this.player.playing) this.player.stop();
    else this.player.play();
  }

  mute(name) {
    const row = this._rows[name];
    row.muted = !row.muted;
    this._say(`${shown(name)} ${row.muted ? "muted" : "not muted"}`);
    this._update();
  }

  solo(name) {
    const row = this._rows[name];
    row.solo = !row.solo;
    this._say(`${shown(name)} ${row.solo ? "solo" : "not solo"}`);
    this._update();
  }

  // For screen readers: keys change what has no focus.
  _say(text) {
    this._status.textContent = text;
  }

  volume(name, db) {
    this._rows[name].db = Math.min(Math.max(db, LOWEST), 6);
    this._update();
  }

  _choose(row) {
    this._current = row;
    this._say(`${shown(row.name)} chosen`);
    for (const other of Object.values(this._rows)) {
      other.element.classList.toggle("chosen-row", other === row);
      if (other === row) other.title.setAttribute("aria-current", "true");
      else other.title.removeAttribute("aria-current");
    }
  }

  _update() {
    const rows = Object.values(this._rows);
    const solo = rows.some((row) => row.solo);
    for (const row of rows) {
      const heard = solo ? row.solo : !row.muted;
      row.level = heard ? gainOf(row.db) : 0;
      if (this.player.levels[row.name] !== row.level) {
        this.player.setLevel(row.name, row.level);
      }
      row.element.classList.toggle("silent", !heard);
      row.mute.setAttribute("aria-pressed", String(row.muted));
      row.soloButton.setAttribute("aria-pressed", String(row.solo));
      const db = row.db <= LOWEST ? "silent" : decibels(row.db);
      row.output.value = db;
      row.fader.value = row.db;
      row.fader.setAttribute("aria-valuetext", db);
    }
    const { playing } = this.player;
    this._icon.setAttribute("d", playing ? PAUSE : PLAY);
    this._play.setAttribute("aria-label", playing ? "Pause" : "Play");
    this._show();
  }

  _show() {
    const { place, seconds } = this.player;
    const part = seconds ? place / seconds : 0;
    for (const row of Object.values(this._rows)) {
      row.playhead.style.left = `${100 * part}%`;
    }
    const now = clock(place, 1);
    if (this._shown !== now) {
      this._shown = now;
      this._time.replaceChildren(now, make("small", {}, ` / ${clock(seconds, 1)}`));
      this._seek.value = place;
      this._seek.setAttribute("aria-valuetext", `${now} of ${clock(seconds, 1)}`);
    }
    this._follow(place);
  }

  // The picture goes with the sound: a jump where it is far, else faster or
  // slower until it is there.
  _follow(place) {
    const film = this._film;
    if (!film || film.readyState < 1) return;
    const sounding = this.player.playing && !this.player.waiting;
    const end = Number.isFinite(film.duration) ? film.duration : place;
    const late = Math.min(place, end) - film.currentTime;
    if (!sounding) {
      if (!film.paused) film.pause();
      if (Math.abs(late) > TOLERANCE && !film.seeking) film.currentTime = Math.min(place, end);
      return;
    }
    if (film.paused && place < end) film.play().catch(() => {});
    if (Math.abs(late) > 0.4) {
      if (!film.seeking) film.currentTime = Math.min(place, end);
    } else {
      film.playbackRate = Math.abs(late) > TOLERANCE / 2 ? 1 + Math.max(-0.3, Math.min(0.3, late)) : 1;
    }
  }

  _draw() {
    if (this._closed) return;
    if (this.player.playing) this._show();
    for (const row of Object.values(this._rows)) {
      let peak = 0;
      if (this.player.playing && row.level && this.player.taps) {
        this.player.taps[row.name].getFloatTimeDomainData(this._buffer);
        for (const value of this._buffer) peak = Math.max(peak, Math.abs(value));
      }
      const db = 20 * Math.log10(peak * row.level + 1e-9);
      const part = Math.min(Math.max(1 + db / 60, 0), 1); // of 60 dB
      row.shown = Math.max(part, (row.shown || 0) - 0.02);
      row.meter.style.transform = `scaleX(${row.shown.toFixed(3)})`;
    }
    requestAnimationFrame(() => this._draw());
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    const { target, key } = event;
    const typing = target.matches("input:not([type=range]), select, textarea");
    const sliding = target.matches("input[type=range]") && key.startsWith("Arrow");
    if (typing || sliding) return;
    // Space presses the button that has the focus.
    if (key === " " && target.matches("button, a, summary")) return;
    const row = this._current;
    const act = {
      " ": () => this.toggle(),
      m: () => row && this.mute(row.name),
      s: () => row && this.solo(row.name),
      ArrowUp: () => row && this.volume(row.name, row.db + 1),
      ArrowDown: () => row && this.volume(row.name, row.db - 1),
      ArrowLeft: () => this.player.seek(this.player.place - 5),
      ArrowRight: () => this.player.seek(this.player.place + 5),
      Home: () => this.player.seek(0),
    }[key];
    if (act && !((key === "ArrowUp" || key === "ArrowDown") && !row)) {
      event.preventDefault();
      act();
    } else if (this._keys[key]) {
      this._choose(this._keys[key]);
    }
  }
}
