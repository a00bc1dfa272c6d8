// What the page does beyond reading: following live, sorting, copying, changes with the token, and all of
// it with the token where reading needs that too.
// Everything that comes from requests is written as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);

// Text that shows what it is: characters that act on the text around them, or hide in it, written out.
const DECEPTIVE =
  /[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
const visible = (text) => text.replace(DECEPTIVE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

// --- the token, kept until the tab is closed

// The fields that show it, if it is known.
const shown = () => {
  const token = sessionStorage.getItem("token");
  return token === null ? {} : { authorization: `Bearer ${token}` };
};

const askForToken = (problem) =>
  new Promise((resolve) => {
    const dialog = byId("token-dialog");
    byId("token-problem").textContent = problem;
    byId("token").value = "";
    byId("actor").value = sessionStorage.getItem("actor") ?? "";
    dialog.addEventListener("close", () => {
      const token = byId("token").value.trim();
      if (dialog.returnValue !== "ok" || token === "") return resolve(null);
      sessionStorage.setItem("token", token);
      sessionStorage.setItem("actor", byId("actor").value.trim());
      resolve(token);
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });

// Carries out a change; the answer, or null if the operator gave up. Asks for the token first, so that
// nothing is sent that is bound to be refused.
const change = async (method, path, document) => {
  let token = sessionStorage.getItem("token") ?? (await askForToken(""));
  while (token !== null) {
    const headers = { authorization: `Bearer ${token}` };
    const actor = sessionStorage.getItem("actor");
    if (actor) headers["x-portcullis-actor"] = actor.replace(/[^\x20-\x7e]/g, "?");
    if (document) headers["content-type"] = "application/json";
    // A wrong token is told by the dialog; the status is looked at before it can be used for anything.
    const answer = await fetch(path, { method, headers, body: document && JSON.stringify(document) });
    if (answer.status !== 401) return answer;
    sessionStorage.removeItem("token");
    token = await askForToken("That is not the token.");
  }
  return null;
};

const tell = (text) => {
  const problem = byId("problem");
  if (problem) problem.textContent = visible(text);
};

const changeAndReload = async (method, path, document) => {
  try {
    const answer = await change(method, path, document);
    if (answer === null) return;
    if (answer.ok) return locked ? visit(location.href) : location.reload();
    const told = await answer.json();
    tell(told.error ?? (told.errors ?? ["it was refused"]).join("; "));
  } catch (error) {
    tell(`The gateway cannot be reached: ${error.message}`);
  }
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { unban, copy, reload, verboseOff, verboseIp, verboseRoute } = button.dataset;
  if (unban !== undefined) changeAndReload("DELETE", `/api/bans?address=${encodeURIComponent(unban)}`);
  if (reload !== undefined) changeAndReload("POST", "/api/reload");
  if (verboseOff !== undefined) changeAndReload("DELETE", "/api/log-level");
  if (verboseIp !== undefined) {
    const routes = verboseRoute ? [verboseRoute] : [];
    changeAndReload("PUT", "/api/log-level", { for: "10m", routes, ips: [verboseIp] });
  }
  if (copy !== undefined) copyText(button, byId(copy).textContent);
});

const copyText = async (button, text) => {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(byId(button.dataset.copy));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected";
  }
};

const banForm = () => {
  byId("ban")?.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    changeAndReload("POST", "/api/bans", {
      address: form.get("address"), for: form.get("for"), reason: form.get("reason"),
    });
  });
  const wanted = new URLSearchParams(location.search).get("address");
  if (wanted && byId("ban-address")) byId("ban-address").value = wanted;
};

// --- tables that can be sorted

const sortable = (table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? order(b, a) : order(a, b)));
      table.tBodies[0].append(...rows);
    });
  });
};

// --- following live

// Server-sent events, as EventSource has them but with the token: what comes, until it is closed.
const listen = (url, heard) => {
  const ended = new AbortController();
  const read = async () => {
    const answer = await fetch(url, { headers: { ...shown(), accept: "text/event-stream" }, signal: ended.signal });
    // The gateway says what there is too much of.
    if (!answer.ok) {
      const told = await answer.json().catch(() => ({}));
      heard("refused", String(told.error ?? answer.status));
      return;
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("it ended");
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) {
        const field = (name) => event.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        heard(field("event") ?? "message", field("data") ?? "");
      }
    }
  };
  const again = async () => {
    while (!ended.signal.aborted) {
      try {
        await read();
      } catch {
        if (ended.signal.aborted) return;
        heard("error", "");
      }
      await new Promise((resolve) => setTimeout(resolve, 3000));
    }
  };
  again();
  return () => ended.abort();
};

const cell = (row, classes, ...parts) => {
  const made = row.insertCell();
  if (classes) made.className = classes;
  made.append(...parts.map((part) => (typeof part === "string" ? visible(part) : part)));
  return made;
};

const element = (name, classes, text) => {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = visible(text);
  return made;
};

const show = (record) => {
  const words = { allow: "allowed", deny: "refused", error: "failed" };
  const row = element("tr", "new");
  const link = element("a");
  link.href = `/decisions/${record.decision_id}`;
  const time = element("time", "", record.ts.slice(11, 19));
  time.dateTime = record.ts;
  link.append(time);
  cell(row, "nowrap", link);
  cell(row, "", element("span", `badge d-${record.decision}`, words[record.decision]));
  cell(row, "number", String(record.status));
  const rule = cell(row, "wrap", element("code", "", record.rule));
  if (record.reason) rule.append(element("small", "", record.reason));
  const route = record.route ? ` · route ${record.route}` : "";
  cell(row, "wrap", element("b", "method", record.method), " ", element("span", "path", record.path),
    element("small", "", record.host + route));
  cell(row, "wrap", record.identity?.subject ?? "–", element("small", "", record.client.ip));
  return row;
};

const MOST_ROWS = 300;

// Ends what goes on when the page is left.
let leave = () => {};

const follow = () => {
  const button = byId("live");
  if (!button) return;
  const state = byId("live-state");
  let end = null;
  let seen = 0;
  let renewing = null;
  const renew = async () => {
    const answer = await fetch("/overview", { headers: shown() });
    // Made by the gateway, which escapes what came from requests.
    if (answer.ok) byId("overview").innerHTML = await answer.text();
  };
  const stop = (why) => {
    end?.();
    end = null;
    clearInterval(renewing);
    button.setAttribute("aria-pressed", "false");
    state.textContent = why;
  };
  const heard = (event, data) => {
    if (event === "ready") state.textContent = "Waiting for decisions";
    if (event === "missed") state.textContent = "More come than can be shown";
    if (event === "error") state.textContent = "Lost the gateway; trying again";
    if (event === "refused") state.textContent = `Not now: ${visible(data)}`;
    if (event !== "decision") return;
    const rows = byId("records");
    rows.prepend(show(JSON.parse(data)));
    while (rows.rows.length > MOST_ROWS) rows.deleteRow(-1);
    seen += 1;
    state.textContent = `${seen} new`;
  };
  const begin = () => {
    const filters = new URLSearchParams(location.search);
    for (const [name, value] of [...filters]) if (value === "") filters.delete(name);
    seen = 0;
    end = listen(`/api/decisions?${filters}`, heard);
    button.setAttribute("aria-pressed", "true");
    renewing = setInterval(renew, 10000);
  };
  button.hidden = false;
  button.addEventListener("click", () => (end ? stop("Paused") : begin()));
  leave = () => stop("");
};
addEventListener("pagehide", () => leave());

// --- reading with the token
//
// A browser sends no such field when it follows a link, so where the gateway asks for the token pages are
// fetched with it and put in the place of the one that is there.

let locked = byId("unlock") !== null;

const visit = async (url, { push = false } = {}) => {
  const answer = await fetch(url, { headers: shown() });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (answer.status === 401) {
    sessionStorage.removeItem("token");
    if (byId("unlock")) {
      byId("unlock-problem").textContent = "That is not the token.";
      return;
    }
  }
  leave();
  leave = () => {};
  if (push) history.pushState(null, "", url);
  document.documentElement.replaceWith(document.adoptNode(page.documentElement));
  begin();
  const { hash } = new URL(url, location.href);
  const target = hash ? byId(hash.slice(1)) : null;
  if (target) target.scrollIntoView();
  else scrollTo(0, 0);
  byId("main")?.focus({ preventScroll: true });
};

const here = (url) => url.origin === location.origin && !url.pathname.startsWith("/api/");

addEventListener("popstate", () => { if (locked) visit(location.href); });
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const other = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button !== 0;
  if (!locked || !link || other || link.getAttribute("href").startsWith("#")) return;
  const url = new URL(link.href);
  if (!here(url)) return;
  event.preventDefault();
  visit(url.href, { push: true });
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.id === "unlock") {
    event.preventDefault();
    sessionStorage.setItem("token", byId("unlock-token").value.trim());
    visit(location.href);
    return;
  }
  if (!locked || form.method !== "get") return;
  event.preventDefault();
  const url = new URL(form.action);
  url.search = new URLSearchParams(new FormData(form));
  visit(url.href, { push: true });
});

// --- each page

const begin = () => {
  banForm();
  document.querySelectorAll("table.sortable").forEach(sortable);
  follow();
};
begin();
// It was given in this tab before.
if (locked && sessionStorage.getItem("token") !== null) visit(location.href);
