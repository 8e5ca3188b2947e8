// Fills the page's tables anew from the status document. The same kinds of cells as kinds.py, the same figures as figures.py.
"use strict";
(() => {
const body = document.body, NOTHING = "-", MINUS = "\u2212";
const QUIET = ["OK", "CATCHING_UP"];
const STATUSES = ["DATA_LOST", "AT_RISK", "STALLED", "CLIFF", "UNKNOWN", "FALLING_BEHIND", "CATCHING_UP", "OK"];
const LEVELS = ["error", "warning", "information", "unchecked"];
const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

// --- figures
const nearest = (value) => Math.floor(value + 0.5);
const grouped = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");
const known = (write) => (value) => (value === null || value === undefined ? NOTHING : write(value));
const tenth = (value) => (nearest(value * 10) / 10).toFixed(1).replace(/\.0$/, "");
const number = known((value) => {
  const size = Math.abs(value), told = size >= 10 ? grouped(nearest(size)) : tenth(size);
  return value < 0 && told !== "0" ? MINUS + told : told;
});
const count = known((value) => (value < 0 ? "-" : "") + grouped(Math.abs(nearest(value))));
const duration = known((value) => {
  let left = Math.max(0, nearest(value));
  for (let at = 0; at < UNITS.length; at++) {
    const [unit, size] = UNITS[at];
    if (left < size) continue;
    const first = Math.floor(left / size);
    const second = size === 1 ? 0 : Math.floor((left % size) / UNITS[at + 1][1]);
    if (!second) return first + unit;
    return first + unit + (unit === "d" ? second : String(second).padStart(2, "0")) + UNITS[at + 1][0];
  }
  return "0s";
});
const latency = known((value) => (value < 1 ? nearest(value * 1000) + "ms" : value < 10 ? tenth(value) + "s" : duration(value)));
const rate = known((value) => number(value) + "/s");
const share = known((value) => nearest(value * 100) + " %");
const size = known((value) => {
  let unit = 0;
  for (; value >= 1024 && unit < SIZES.length - 1; unit++) value /= 1024;
  return number(value) + " " + SIZES[unit];
});
const moment = known((value) => new Date(Math.floor(value) * 1000).toISOString().slice(0, 19).replace("T", " ") + "Z");
const ago = (value, now) => known((then) => duration(now - then) + " ago")(value);
const word = (name) => (name === "OK" ? name : (name.slice(0, 1).toUpperCase() + name.slice(1).toLowerCase()).replaceAll("_", " "));
const sum = (of) => Object.values(of).reduce((all, each) => all + each, 0);
const byName = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

// --- elements: text is text, whatever it holds
const make = (name, css, ...children) => {
  const element = document.createElement(name);
  if (css) element.className = css;
  element.append(...children.flat(9).filter((each) => each !== null));
  return element;
};
const badge = (name) => make("b", "s-" + (STATUSES.includes(name) ? name : "UNKNOWN"), word(name));
const command = (text) => make("code", "", text);
const small = (text) => make("small", "", text);
const between = (bounds, write) => {
  const low = write(bounds.low), high = write(bounds.high);
  return low === high ? null : small(` (${low}…${high})`);
};
const signed = (value) => (value > 0 && number(value) !== "0" ? "+" : "") + number(value);
const place = (id) => {
  const name = id.split("@")[0];
  if (name.includes("/")) return name;
  const parts = name.split("-"), tail = parts.splice(Math.max(1, parts.length - 2));
  return [parts.join("-"), ...tail].join("/");
};
const figure = (write) => (value) => [write(value)];
const pairs = (of) => Object.keys(of).sort(byName).map((name) => `${name} ${count(of[name])}`).join(", ") || NOTHING;

// --- kinds: (value, row, now) -> [content, class]
const kinds = {
  text: (value) => [value === null || value === "" ? NOTHING : String(value)],
  count: figure(count), duration: figure(duration), latency: figure(latency), rate: figure(rate), share: figure(share), size: figure(size),
  ago: (value, row, now) => [ago(value, now)],
  moment: (value) => [moment(value)],
  status: (value, row) => [QUIET.includes(value) ? badge(value)
    : [badge(value), make("p", "", row.sentence), row.fix ? command(row.fix) : null]],
  group: (value) => [badge(value)],
  level: (value) => [make("b", "l-" + (LEVELS.includes(value) ? value : "unchecked"), word(value))],
  partition: (value, row) => [`${row.topic}/${row.partition}`],
  owner: (value, row) => (value !== null ? [value] : row.owner_known ? ["nobody", "bad"] : [NOTHING]),
  growth: (value) => [value === null ? NOTHING : [signed(value.estimate) + "/s", between(value, number)]],
  drain: (value) => [value === null ? NOTHING : [duration(value.estimate), between(value, duration)]],
  loss: (value, row) => [row.loss_never ? "never" : value === null ? NOTHING
    : [duration(value), row.loss_by ? small(` by ${row.loss_by}`) : null]],
  lag: (value, row) => [[count(value), row.blocked ? small(` +${count(row.blocked)} blocked`) : null]],
  flux: (value, row) => [`${rate(value)} → ${rate(row.consumed_rate)}`],
  calls: (value, row) => [[value, row.p95, row.p99].map(latency).join(", ")],
  table: (value, row) => [`${value}/${row.partition}`],
  pairs: (value) => [pairs(value)],
  total: (value) => [count(sum(value))],
  list: (value) => [value.join(", ") || NOTHING],
  flow: (value, row) => [[row.topics.join(", "), " → ", make("b", "", value), row.dlq ? [" → ", row.dlq] : null]],
  dead: (value) => {
    if (!value.length) return ["0"];
    const sorted = [...value].sort((a, b) => b.count - a.count || byName(a.error_type, b.error_type) || byName(a.reason, b.reason));
    const told = sorted.slice(0, 3).map((each) => `${each.error_type} ${count(each.count)} ${each.reason}`).join(", ");
    return [[told, sorted.length > 3 ? ` and ${sorted.length - 3} more` : null]];
  },
  breakers: (value, row, now) => (value.length
    ? [value.map((each) => `open for ${duration(now - each.since)}${each.detail ? ": " + each.detail : ""}`).join("; "), "bad"] : ["closed"]),
  held: (value, row) => {
    const keys = sum(row.blocked_keys), records = sum(row.held_records);
    return [keys || records ? `${count(keys)} keys, ${count(records)} records` : NOTHING];
  },
  restore: (value, row) => {
    const parts = [word(value)], done = row.restored, left = row.remaining;
    if (done !== null && left) {
      parts.push(`, ${share(done / (done + left))}, ${count(left)} to go`);
      if (row.rate !== null) parts.push(` at ${rate(row.rate)}`);
      if (row.seconds_left !== null) parts.push(`, ${duration(row.seconds_left)} left`);
    }
    if (row.waiting !== null) parts.push(`, waiting ${duration(row.waiting)} for an open transaction`);
    if (row.trouble) parts.push(`: ${row.trouble}`);
    return [parts, row.trouble ? "bad" : ""];
  },
  unresolved: (value, row) => [count(value) + (row.lower_bound ? " or more" : "")],
  yes: (value) => (value ? ["yes"] : ["no", "bad"]),
  letters: (value, row) => {
    const record = (id) => make("li", "", make("details", "", make("summary", "", id),
      command(`streamapp dlq show ${id}`)));
    const first = make("li", "", command(`streamapp dlq list --fingerprint ${row.fingerprint}`));
    return [make("details", "", make("summary", "", `${count(value.length)} newest`), make("ul", "", first, value.map(place).map(record)))];
  },
  command: (value) => [value ? command(value) : NOTHING],
  ready: (value, row) => (row.draining ? ["draining", "bad"] : value ? ["ready"] : [`not ready: ${row.failing || "starting"}`, "bad"]),
  workers: (value, row) => [`${count(row.partitions)} partitions, ${count(row.workers)} workers` + (row.workers_needed === null ? ""
    : `, ${count(row.workers_needed)} needed${row.workers_capped ? " and no more can help" : ""}`)],
  whose: (value, row) => [[value ? "This worker only: with web_peers, the others' partitions are here, too."
    : `With the partitions of ${count(row.peers.length)} other workers: ${row.peers.join(", ")}.`,
  row.unreachable.length ? make("strong", "", ` No answer from ${row.unreachable.join(", ")}.`) : null]],
};

// --- the page
const bare = (cell) => { const copy = cell.cloneNode(true); copy.querySelectorAll(".copy").forEach((each) => each.remove());
  copy.querySelectorAll("details").forEach((each) => each.removeAttribute("open")); return copy.innerHTML; };
const put = (cell, [content, css], keeps) => {
  const fresh = document.createElement("div");
  fresh.append(...[content].flat(9).filter((each) => each !== null));
  if (bare(cell) !== fresh.innerHTML) { cell.replaceChildren(...fresh.childNodes); buttons(cell); }
  if (!keeps && cell.className !== (css || "")) { if (css) cell.className = css; else cell.removeAttribute("class"); }
};
const buttons = (within) => within.querySelectorAll("code").forEach((code) => {
  if (code.nextSibling?.className === "copy") return;
  const button = make("button", "copy", "copy");
  button.type = "button";
  button.setAttribute("aria-label", `Copy ${code.textContent}`);
  code.after(button);
});
// A page that came over plain HTTP from another machine has no clipboard, and a browser may refuse it.
const copied = async (code) => {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
};
document.addEventListener("click", async (event) => {
  if (event.target.className !== "copy") return;
  event.target.textContent = (await copied(event.target.previousSibling)) ? "copied" : "selected";
  setTimeout(() => { event.target.textContent = "copy"; }, 1500);
});

const keyOf = (row) => row.dataset.key ?? row.cells[0].textContent;
const fillTable = (table, rows, now) => {
  const key = table.dataset.key.split(" "), heads = [...table.tHead.rows[0].cells], tbody = table.tBodies[0];
  const there = new Map([...tbody.rows].map((row) => [keyOf(row), row]));
  rows.forEach((row, at) => {
    const name = key.map((each) => row[each]).join("/");
    let line = there.get(name);
    if (line === undefined) {
      line = make("tr", "new");
      heads.forEach((head, column) => {
        const cell = line.appendChild(document.createElement(column ? "td" : "th"));
        if (["picture", "actions"].includes(head.dataset.k)) cell.className = head.dataset.k;
        if (head.dataset.k === "actions") cell.append(...["replay", "discard"].map((verb) => {
          const link = make("a", "", verb[0].toUpperCase() + verb.slice(1) + "…");
          link.href = `/streamapp/dead-letters/${verb}?` + new URLSearchParams({fingerprint: row.fingerprint, dlq: row.dlq});
          return link;
        }));
      });
    }
    there.delete(name);
    heads.forEach((head, column) => {
      const kind = kinds[head.dataset.k];
      if (kind) put(line.cells[column], kind(row[head.dataset.f], row, now), !column);
    });
    if (line.cells[0].textContent !== name) line.dataset.key = name;
    line.hidden = table.dataset.only === "lag" && row.lag === 0;
    if (tbody.rows[at] !== line) tbody.insertBefore(line, tbody.rows[at] || null);
  });
  there.forEach((line) => line.remove());
  const nothing = table.closest(".grid").querySelector(".empty");
  nothing.hidden = [...tbody.rows].some((row) => !row.hidden);
};
const fill = (status) => {
  document.querySelectorAll("[data-of]").forEach((part) => {
    const row = part.dataset.of ? status[part.dataset.of] : status;
    part.querySelectorAll("[data-f]").forEach((cell) => put(cell, kinds[cell.dataset.k](row[cell.dataset.f], row, status.at), cell.tagName !== "DD"));
  });
  const strip = document.querySelector(".strip");
  strip.className = "strip v-" + (STATUSES.includes(status.group.status) ? status.group.status : "UNKNOWN");
  document.querySelectorAll("[data-rows]").forEach((table) => fillTable(table, status[table.dataset.rows], status.at));
  const at = document.getElementById("at");
  at.textContent = moment(status.at);
  at.dateTime = moment(status.at).replace(" ", "T");
};

// Pictures are the server's: every sixth look takes them from the page itself.
const pictures = async () => {
  const answer = await fetch(location.pathname + location.search, {cache: "no-store"});
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const chart = page.getElementById("chart"), mine = document.getElementById("chart");
  if (chart && mine) mine.replaceChildren(...chart.childNodes);
  const lines = new Map([...page.querySelectorAll("#partitions-table tbody tr")].map((row) => [keyOf(row), row]));
  document.querySelectorAll("#partitions-table tbody tr").forEach((row) => {
    const drawn = lines.get(keyOf(row))?.querySelector(".picture");
    if (drawn) row.querySelector(".picture").replaceChildren(...drawn.childNodes);
  });
};

const live = document.getElementById("live"), every = Number(body.dataset.poll) * 1000;
let looks = 0, heard = Date.now();
const look = async () => {
  if (document.hidden) { setTimeout(look, every); return; }
  try {
    const answer = await fetch(body.dataset.status, {cache: "no-store", signal: AbortSignal.timeout(10000)});
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const status = await answer.json();
    if (String(status.schema) !== body.dataset.schema) { location.reload(); return; }
    fill(status);
    heard = Date.now();
    body.classList.remove("stale");
    live.textContent = `live, every ${body.dataset.poll} s`;
    if (++looks % 6 === 0) await pictures();
  } catch {
    body.classList.add("stale");
    live.textContent = `no answer for ${duration((Date.now() - heard) / 1000)}: figures are old`;
  }
  body.dataset.looks = looks;
  setTimeout(look, every);
};
live.textContent = `live, every ${body.dataset.poll} s`;
buttons(document);
setTimeout(look, every);
})();
