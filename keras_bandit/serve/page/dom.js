// Elements and words. No text is ever read as HTML.

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const byId = (id) => document.getElementById(id);

export function clock(seconds, decimals = 0) {
  const unit = 10 ** decimals;
  const all = Math.floor(Math.max(seconds, 0) * unit + 1e-6);
  const hours = Math.floor(all / unit / 3600);
  const minutes = Math.floor(all / unit / 60) % 60;
  const rest = ((all / unit) % 60).toFixed(decimals);
  const width = decimals ? 3 + decimals : 2;
  const end = rest.padStart(width, "0");
  return hours
    ? `${hours}:${String(minutes).padStart(2, "0")}:${end}`
    : `${minutes}:${end}`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}

export const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

// The answer to a request, or an Error with the server's line.
export async function ask(address, options) {
  const answer = await fetch(address, options);
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  let line = `the server answered ${answer.status}`;
  try {
    line = (await answer.json()).error || line;
  } catch {
    // not JSON: the status must do
  }
  throw Object.assign(new Error(line), { status: answer.status });
}
