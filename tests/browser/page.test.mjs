// The operators' page, as an operator uses it.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import AxeBuilder from "@axe-core/playwright";
import { KEY, openPage, startBrowser, startGateway, startOpenGateway } from "./support.mjs";

const LEVEL_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

let gateway;
let browser;

before(async () => {
  gateway = await startGateway();
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  await gateway?.stop();
});

// Opens a page, does something there, and wants nothing to have gone wrong.
const on = async (path, act, { context = browser.context } = {}) => {
  const { page, problems } = await openPage(context, gateway.page);
  try {
    const answer = await page.goto(gateway.page + path);
    assert.equal(answer.status(), 200, path);
    await act(page);
    assert.deepEqual(problems, [], path);
  } finally {
    await page.close();
  }
};

const decisionPage = async () => {
  const id = gateway.refused.headers["x-request-id"];
  const [record] = await gateway.settled(`q=${id}`, 1);
  return `/decisions/${record.decision_id}`;
};

// The dialog that a change opens.
const giveToken = async (page, token = gateway.token) => {
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Token").fill(token);
  await dialog.getByLabel("Who you are").fill("alice");
  await dialog.getByRole("button", { name: "Use it" }).click();
};

describe("every page", () => {
  for (const colorScheme of ["light", "dark"]) {
    it(`has no console error, asks nobody else, and passes axe at level AA (${colorScheme})`, async () => {
      const one = await decisionPage();
      const changed = `${one}?method=DELETE&target=/orders/42&subject=alice&roles=orders-admin`;
      const asked = "/what-if?target=/office/plan&ip=203.0.113.9";
      for (const path of ["/", "/?decision=deny", one, changed, "/what-if", asked, "/rules", "/waf", "/bans", "/upstreams", "/history"]) {
        await on(path, async (page) => {
          await page.emulateMedia({ colorScheme });
          for (const details of await page.locator("details").all()) {
            await details.evaluate((element) => { element.open = true; });
          }
          const { violations } = await new AxeBuilder({ page }).withTags(LEVEL_AA).analyze();
          const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
          assert.deepEqual(found, [], `${path} in ${colorScheme}`);
        });
      }
    });
  }

  it("can be read without a script", async () => {
    const plain = await startBrowser({ javaScriptEnabled: false });
    try {
      await on("/", async (page) => {
        await page.getByRole("cell", { name: /rbac\/default-deny role_missing/ }).first().waitFor();
        assert.equal(await page.getByRole("button", { name: "Follow live" }).count(), 0);
      }, plain);
      await on(await decisionPage(), async (page) => {
        await page.getByText("needs the role orders-admin").first().waitFor();
      }, plain);
    } finally {
      await plain.stop();
    }
  });

  it("can be used with the keyboard alone", async () => {
    await on("/rules", async (page) => {
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement.id), "main");
      const head = page.getByRole("columnheader", { name: /^Refused/ });
      await head.getByRole("button").focus();
      await page.keyboard.press("Enter");
      assert.equal(await head.getAttribute("aria-sort"), "descending");
      const first = page.locator("#rules tbody tr").first();
      const refused = Number(await first.locator("td").nth(4).getAttribute("data-sort"));
      assert.ok(refused >= 2, `the rule that refused most comes first: ${await first.textContent()}`);
    });
  });
});

describe("a refusal", () => {
  it("is found by its request id and says what would let it pass", async () => {
    await on("/", async (page) => {
      await page.getByRole("searchbox", { name: "Find a decision" }).fill(gateway.refused.headers["x-request-id"]);
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "DELETE /orders/42" }).waitFor();
      const pass = page.getByRole("region", { name: "What would let it pass" });
      assert.match(await pass.textContent(), /rbac\/orders-write.*needs the role\s+orders-admin/s);
      assert.match(await page.getByRole("region", { name: "The trail" }).textContent(), /rbac refused/);
      assert.match(await page.locator("#curl").textContent(), /^curl -i -X DELETE /);
    });
  });

  it("can be asked again with something changed", async () => {
    await on(await decisionPage(), async (page) => {
      await page.getByLabel("Roles").fill("orders-admin");
      await page.getByRole("button", { name: "What would happen?" }).click();
      await page.getByText("Allowed by rbac/orders-write").waitFor();
      await page.getByText("Refused by rbac/default-deny (role_missing)").waitFor();
    });
  });

  it("tells a ban, a network rule and text of the request as they are", async () => {
    await on("/?path=/office&decision=deny", async (page) => {
      await page.locator("#records a").first().click();
      await page.getByText("Connect through the office VPN.", { exact: true }).waitFor();
      await page.getByText('id = "office-only"').waitFor();
    });
    // What looks like markup in a request is text on the page; the target itself was refused.
    await on("/?q=alert(1)", async (page) => {
      await page.getByText("alert(1)").first().waitFor();
    });
  });

  it("that is not here is said to be elsewhere", async () => {
    const { page } = await openPage(browser.context, gateway.page);
    const answer = await page.goto(`${gateway.page}/decisions/0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11`);
    assert.equal(answer.status(), 404);
    await page.getByText("portcullis why 0197f2c4").waitFor();
    await page.close();
  });
});

describe("the list", () => {
  it("shows what the filters want", async () => {
    await on("/", async (page) => {
      await page.getByLabel("Stage").selectOption("ip");
      await page.getByLabel("Address or network").fill("203.0.113.0/24");
      await page.getByRole("button", { name: "Show" }).click();
      await page.waitForURL(/stage=ip/);
      const rules = await page.locator("#records code").allTextContents();
      assert.deepEqual([...new Set(rules)], ["ip/office-only"]);
    });
    await on("/?ip=here", async (page) => {
      await page.getByRole("alert").filter({ hasText: "is not an address or network" }).waitFor();
    });
  });

  it("follows live what the filters want, and stops", async () => {
    await on("/?decision=deny&path=/live", async (page) => {
      await page.getByRole("button", { name: "Follow live" }).click();
      await page.getByRole("status").filter({ hasText: "Waiting for decisions" }).waitFor();
      await gateway.ask("GET", "/");
      await gateway.ask("GET", "/live/1", { "x-forwarded-for": "203.0.113.77" });
      const row = page.locator("#records tr.new");
      await row.filter({ hasText: "/live/1" }).waitFor();
      assert.equal(await row.count(), 1);
      assert.match(await row.textContent(), /refused.*rbac\/default-deny.*203\.0\.113\.77/s);
      // A subject is whatever an issuer says: what would turn round the text beside it is written out.
      const record = {
        ts: "2026-11-24T09:12:03Z", decision_id: "d", decision: "deny", status: 403, rule: "rbac/default-deny",
        method: "GET", path: "/", host: "app.test", client: { ip: "192.0.2.1" },
        identity: { subject: "a\u202eb\u200b" },
      };
      const shown = await page.evaluate((record) => show(record).textContent, record);
      assert.ok(shown.includes("a\\u{202e}b\\u{200b}") && !shown.includes("\u202e"), shown);
      await page.getByRole("button", { name: "Follow live" }).click();
      await page.getByRole("status").filter({ hasText: "Paused" }).waitFor();
    });
  });

  it("says why it cannot follow when too many do", async () => {
    const ended = new AbortController();
    const follow = () =>
      fetch(`${gateway.page}/api/decisions`, { headers: { accept: "text/event-stream" }, signal: ended.signal });
    const open = await Promise.all(Array.from({ length: 8 }, follow));
    assert.ok(open.every((answer) => answer.ok));
    const { page } = await openPage(browser.context, gateway.page);
    await page.goto(gateway.page);
    await page.getByRole("button", { name: "Follow live" }).click();
    await page.getByRole("status").filter({ hasText: "Not now: too many streams of events" }).waitFor();
    ended.abort();
    await page.getByRole("status").filter({ hasText: "Waiting for decisions" }).waitFor();
    await page.close();
  });

  it("has plots of the last hour with their numbers", async () => {
    await on("/", async (page) => {
      await page.getByRole("img", { name: "Decisions in each minute of the last hour" }).waitFor();
      await page.getByRole("img", { name: /How long judging and upstreams took/ }).waitFor();
      assert.ok((await page.locator(".plot .bar").count()) > 0);
      await page.getByText("As a table").first().click();
      assert.ok((await page.getByRole("rowheader").count()) > 0);
    });
  });
});

describe("a change", () => {
  it("asks for the token, is made and undone, and is recorded with who", async () => {
    await on("/bans", async (page) => {
      await page.getByLabel("Address or network").fill("203.0.113.50");
      await page.getByLabel("For how long").fill("30m");
      await page.getByLabel("Why").fill("scans");
      await page.getByRole("button", { name: "Ban", exact: true }).click();
      await giveToken(page);
      await page.getByRole("cell", { name: "203.0.113.50", exact: true }).waitFor();
      const refused = await gateway.ask("GET", "/", { "x-forwarded-for": "203.0.113.50" });
      assert.deepEqual([refused.status, refused.headers["x-portcullis-rule"]], [403, "ip/banned"]);
      await page.getByRole("button", { name: "Un-ban 203.0.113.50" }).click();
      await page.getByText("Nobody is banned.").waitFor();
      assert.equal((await gateway.ask("GET", "/", { "x-forwarded-for": "203.0.113.50" })).status, 200);
      await page.goto(`${gateway.page}/history`);
      await page.getByRole("cell", { name: "alice, from 127.0.0.1" }).first().waitFor();
      await page.getByRole("cell", { name: /banned 203\.0\.113\.50 until .*: scans/ }).waitFor();
    });
  });

  it("that is refused says why", async () => {
    const { page } = await openPage(browser.context, gateway.page);
    await page.goto(`${gateway.page}/bans`);
    await page.getByLabel("Address or network").fill("everybody");
    await page.getByRole("button", { name: "Ban", exact: true }).click();
    await giveToken(page, "not the token");
    await page.getByText("That is not the token.").waitFor();
    await giveToken(page);
    await page.getByText("is not an address or network").waitFor();
    await page.close();
  });

  it("keeps full trails, and the next decision shows its own", async () => {
    await on(await decisionPage(), async (page) => {
      await page.getByRole("button", { name: /Keep trails of/ }).click();
      await giveToken(page);
      await page.getByText("full trails until").waitFor();
      const again = await gateway.ask("DELETE", "/orders/43", { ...KEY, "x-forwarded-for": "203.0.113.9" });
      const [record] = await gateway.settled(`q=${again.headers["x-request-id"]}`, 1);
      await page.goto(`${gateway.page}/decisions/${record.decision_id}`);
      await page.getByText("As it was recorded.").waitFor();
      await page.goto(`${gateway.page}/history`);
      await page.getByRole("button", { name: "End full trails" }).click();
      await page.getByText("keeps no more trails").waitFor();
    });
  });
});

describe("WAF triage", () => {
  it("groups refusals and says what an exclusion would change", async () => {
    await on("/waf", async (page) => {
      const group = page.getByRole("region", { name: "waf/no-select on query:q of route shop", exact: true });
      await group.waitFor();
      assert.match(await group.textContent(), /would let at most 2 of 3 pass/);
      const toml = await group.locator("pre").textContent();
      assert.equal(toml.trim(), '[[waf.exclude]]\nid = "shop-query-q-no-select"\nroutes = ["shop"]\ntargets = ["query:q"]\nrules = ["waf/no-select"]');
      await group.getByRole("button", { name: "Copy" }).click();
      await group.getByRole("button", { name: /Copied|Selected/ }).waitFor();
      // What both refuse passes only without both.
      const both = page.getByRole("region", { name: "waf/no-drop on query:p and waf/no-select on query:q of route shop" });
      assert.match(await both.textContent(), /Seen together.*would let at most 3 of 3 pass/s);
      assert.match(await both.locator("pre").textContent(), /rules = \["waf\/no-drop"\].*targets = \["query:q"\]\nrules = \["waf\/no-select"\]/s);
    });
  });
});

describe("history", () => {
  it("shows what each policy changed for whom, and what was refused", async () => {
    const own = await startGateway();
    try {
      await own.reconfigure((text) => text.replace('methods = ["DELETE"]', 'methods = ["DELETE", "PUT"]'));
      await own.reconfigure((text) => text.replace("[waf]", "[wav]"));
      const { page, problems } = await openPage(browser.context, own.page);
      await page.goto(`${own.page}/history`);
      await page.getByText("rbac/orders-write changed").waitFor();
      await page.getByText("Who gained or lost what").click();
      await page.getByRole("row", { name: /orders-admin gained.*PUT/ }).waitFor();
      await page.getByText(/unknown|wav/).first().waitFor();
      await page.getByRole("heading", { name: /^Refused/ }).waitFor();
      const { violations } = await new AxeBuilder({ page }).withTags(LEVEL_AA).analyze();
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
      await page.goto(`${own.page}/rules`);
      await page.getByRole("row").filter({ hasText: "rbac/orders-write" }).getByText(/^20\d\d-/).waitFor();
      assert.deepEqual(problems, []);
    } finally {
      await own.stop();
    }
  });
});

describe("a rule that refuses much more after a reload", () => {
  it("is in the history with the policy, and leads to its refusals", async () => {
    const own = await startGateway();
    try {
      // What was counted by then is looked at once a second, and there must be enough of it.
      for (let number = 0; number < 80; number += 1) await own.ask("GET", "/");
      const freeze = '[[rbac.deny]]\nid = "freeze"\npath = "/"\n';
      await own.reconfigure((text) => text + freeze);
      const jumped = (entries) => entries.some((entry) => entry.kind === "jump");
      while (!jumped(await own.history())) await own.ask("GET", "/");
      const { page, problems } = await openPage(browser.context, own.page);
      // Every page says so.
      await page.goto(`${own.page}/bans`);
      await page.getByRole("link", { name: "rbac/freeze refuses much more since this policy" }).click();
      await page.getByRole("heading", { name: /^Refusals jumped/ }).waitFor();
      const { violations } = await new AxeBuilder({ page }).withTags(LEVEL_AA).analyze();
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
      await page.getByText(/With policy 2-[0-9a-f]{8} rbac\/freeze refuses/).waitFor();
      await page.getByRole("main").getByRole("link", { name: "rbac/freeze" }).click();
      await page.locator("#records tr").first().waitFor();
      const rules = await page.locator("#records td:nth-child(4) code").allTextContents();
      assert.deepEqual([...new Set(rules)], ["rbac/freeze"]);
      await page.goto(`${own.page}/rules`);
      const row = page.getByRole("row").filter({ hasText: "rbac/freeze" });
      assert.ok(Number(await row.locator("td").nth(5).getAttribute("data-sort")) > 0, "its share is told");
      await row.locator("time").first().waitFor();
      assert.deepEqual(problems, []);
    } finally {
      await own.stop();
    }
  });
});

describe("upstreams", () => {
  it("have their state", async () => {
    await on("/upstreams", async (page) => {
      await page.getByRole("row", { name: /gone.*http:\/\/127\.0\.0\.1:1/ }).waitFor();
      await page.getByRole("row", { name: /demo.*builtin:echo.*up/ }).waitFor();
    });
  });
});

describe("from elsewhere than loopback", () => {
  let open;
  before(async () => { open = await startOpenGateway(); });
  after(() => open?.stop());

  // The browser itself says of the page that asks for the token that it was refused.
  const expected = (problems) => problems.filter((problem) => !problem.includes("401 (Unauthorized)"));

  const unlock = async (page, token = open.token) => {
    await page.getByLabel("Token").first().fill(token);
    await page.getByRole("button", { name: "Open" }).click();
  };

  it("asks for the token, and everything works with it until the tab is closed", async () => {
    const { page, problems } = await openPage(browser.context, open.page);
    const answer = await page.goto(`${open.page}/?decision=deny`);
    assert.equal(answer.status(), 401);
    const { violations } = await new AxeBuilder({ page }).withTags(LEVEL_AA).analyze();
    assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
    // Nothing is told before.
    assert.ok(!(await page.content()).includes("rbac/default-deny"));
    await unlock(page, "not the token, but as long as it");
    await page.getByText("That is not the token.").waitFor();
    await unlock(page);
    await page.getByRole("heading", { name: "Decisions", exact: true }).waitFor();
    assert.ok((await page.locator("#records tr").count()) > 3);

    // Links, forms, back and forth, and what the script does.
    await page.getByRole("link", { name: "Rules", exact: true }).click();
    await page.getByRole("columnheader", { name: /^Refused/ }).getByRole("button").click();
    assert.equal(new URL(page.url()).pathname, "/rules");
    await page.goBack();
    await page.getByRole("searchbox", { name: "Find a decision" }).fill(open.refused.headers["x-request-id"]);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "DELETE /orders/42" }).waitFor();
    await page.getByLabel("Roles").fill("orders-admin");
    await page.getByRole("button", { name: "What would happen?" }).click();
    await page.getByText("Allowed by rbac/orders-write").waitFor();
    await page.getByRole("link", { name: "Bans", exact: true }).click();
    await page.getByLabel("Address or network").fill("203.0.113.60");
    await page.getByLabel("For how long").fill("30m");
    await page.getByLabel("Why").fill("scans");
    await page.getByRole("button", { name: "Ban", exact: true }).click();
    await page.getByRole("cell", { name: "203.0.113.60", exact: true }).waitFor();

    await page.getByRole("link", { name: "Decisions", exact: true }).click();
    await page.getByRole("button", { name: "Follow live" }).click();
    await page.getByRole("status").filter({ hasText: "Waiting for decisions" }).waitFor();
    await open.ask("GET", "/live/2", { "x-forwarded-for": "203.0.113.78" });
    await page.locator("#records tr.new").filter({ hasText: "/live/2" }).waitFor();
    await page.getByRole("button", { name: "Follow live" }).click();

    // Loading it anew needs no new token; another tab does.
    await page.reload();
    await page.getByRole("heading", { name: "Decisions", exact: true }).waitFor();
    assert.deepEqual(expected(problems), []);
    await page.close();
    const other = await openPage(browser.context, open.page);
    await other.page.goto(`${open.page}/`);
    await other.page.getByRole("heading", { name: "This page needs the admin token" }).waitFor();
    await other.page.close();
  });
});
