// Plays several sounds by one clock, however long they are.
//
// Sounds come in pieces of some seconds. The pieces of one place are all
// fetched first and then started at one time of one AudioContext: what begins
// together stays together, to the sample, and no more than a few pieces are in
// memory. Its rate is the sounds' own, so that pieces join without a seam.

import { pause } from "./dom.js";

const AHEAD = 6; // seconds before its time at which a piece is started
const DELAY = 0.08; // seconds from a start to the first sample
const KEPT = 6; // places of which the pieces stay in memory
const FADE = 0.008; // seconds, so that changes of level do not click

export class Player extends EventTarget {
  // `names`: of the sounds; `fetchPiece(name, index)`: an ArrayBuffer.
  constructor(names, { sampleRate, seconds, pieceSeconds }, fetchPiece) {
    super();
    this.names = names;
    this.seconds = seconds;
    this.playing = false;
    this.waiting = false;
    this.master = 1;
    this.levels = Object.fromEntries(names.map((name) => [name, 1]));
    this.starts = []; // what was started when, for tests of the sync
    this._sampleRate = sampleRate;
    this._piece = pieceSeconds;
    this._count = Math.ceil(seconds / pieceSeconds);
    this._fetch = fetchPiece;
    this._place = 0; // while it does not sound
    this._origin = null; // the context's time of the sounds' first sample
    this._until = 0; // all before this place is started
    this._run = 0;
    this._sources = new Set();
    this._loaded = new Map();
  }

  _open() {
    if (this.context) return;
    try {
      this.context = new AudioContext({ sampleRate: this._sampleRate });
    } catch {
      this.context = new AudioContext(); // a rate that the browser lacks
    }
    const { context } = this;
    this._out = context.createGain();
    this.analyser = context.createAnalyser();
    this._out.connect(this.analyser).connect(context.destination);
    this.taps = {};
    this._gains = {};
    for (const name of this.names) {
      this.taps[name] = context.createAnalyser();
      this._gains[name] = context.createGain();
      this._gains[name].gain.value = this.levels[name];
      this.taps[name].connect(this._gains[name]).connect(this._out);
    }
    this._out.gain.value = this.master;
  }

  setLevel(name, level) {
    this.levels[name] = level;
    this._fade(this._gains?.[name], level);
  }

  setMaster(level) {
    this.master = level;
    this._fade(this._out, level);
  }

  _fade(node, level) {
    node?.gain.setTargetAtTime(level, this.context.currentTime, FADE);
  }

  // Seconds of the sounds that are heard now.
  get place() {
    if (!this.playing || this._origin === null) return this._place;
    const { currentTime, outputLatency } = this.context;
    const now = currentTime - (outputLatency || 0) - this._origin;
    return Math.min(Math.max(now, this._place), this._until);
  }

  async play() {
    if (this.playing) return;
    this._open();
    if (this._place >= this.seconds) this._place = 0;
    this.playing = true;
    this._changed();
    await this.context.resume();
    this._begin();
  }

  stop() {
    if (!this.playing) return;
    this._place = this.place;
    this.playing = false;
    this._halt();
    this._changed();
  }

  seek(place) {
    this._place = Math.min(Math.max(place, 0), this.seconds);
    this._halt();
    if (this.playing) this._begin();
    this._changed();
  }

  close() {
    this.stop();
    this._loaded.clear();
    this.context?.close();
  }

  _changed() {
    this.dispatchEvent(new Event("change"));
  }

  _halt() {
    this._run += 1;
    this._origin = null;
    for (const source of this._sources) {
      source.onended = null;
      source.stop();
    }
    this._sources.clear();
  }

  async _begin() {
    const run = ++this._run;
    let index = Math.floor(this._place / this._piece);
    this._until = this._place;
    for (; index < this._count; index += 1) {
      while (this._origin !== null && this._until - this.place > AHEAD) {
        await pause(150);
        if (run !== this._run) return;
      }
      let buffers;
      this._setWaiting(this._origin === null);
      try {
        buffers = await this._load(index);
      } catch (error) {
        if (run !== this._run) return;
        this.stop();
        this.dispatchEvent(new CustomEvent("failure", { detail: error }));
        return;
      }
      if (run !== this._run) return;
      this._setWaiting(false);
      this._start(index, buffers);
    }
  }

  _setWaiting(waiting) {
    if (waiting === this.waiting) return;
    this.waiting = waiting;
    this._changed();
  }

  _start(index, buffers) {
    const now = this.context.currentTime;
    const place = Math.max(index * this._piece, this._place);
    // Late, or the first: all sounds wait together.
    if (this._origin === null || this._origin + place < now) {
      this._origin = now + DELAY - place;
    }
    const when = this._origin + place;
    const offset = place - index * this._piece;
    for (const name of this.names) {
      const source = this.context.createBufferSource();
      source.buffer = buffers[name];
      source.connect(this.taps[name]);
      source.start(when, offset);
      this.starts.push({ name, index, when, offset });
      source.onended = () => this._sources.delete(source);
      this._sources.add(source);
    }
    this.starts = this.starts.slice(-64);
    this._until = Math.min((index + 1) * this._piece, this.seconds);
    if (index === this._count - 1) {
      const last = [...this._sources].at(-1);
      last.onended = () => this._end();
    }
  }

  _end() {
    this._halt();
    this.playing = false;
    this._place = this.seconds;
    this._changed();
  }

  _load(index) {
    if (!this._loaded.has(index)) {
      const all = Promise.all(
        this.names.map(async (name) => {
          const content = await this._fetch(name, index);
          return [name, await this.context.decodeAudioData(content)];
        }),
      ).then(Object.fromEntries);
      all.catch(() => this._loaded.delete(index));
      this._loaded.set(index, all);
      for (const old of this._loaded.keys()) {
        if (this._loaded.size <= KEPT) break;
        this._loaded.delete(old);
      }
    }
    return this._loaded.get(index);
  }
}
