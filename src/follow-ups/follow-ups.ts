/**
 * Work that starts from git: looks at followed branches, and turns what happened there into plans.
 *
 * Always true: what was seen, and up to where, is one transaction; a plan and the events it follows are another; an event
 * is stored once for each rule. So an event starts one follow-up, whatever is killed when. A branch that is seen for the
 * first time has no events. Nothing of a repository's own config counts before it is trusted.
 *
 * Never: waits in git's way, or starts anything but plans. Looks follow one another; any number of signs while one is
 * under way lead to one more.
 */
import { crashPoint } from "../crash-point.ts";
import { AppError, hasCode, messageOf } from "../errors.ts";
import type { App } from "../app.ts";
import { submitPlan } from "../operations/submit-plan.ts";
import { freeId } from "../plan/plan-id.ts";
import type { FollowUpEvent, FollowUpRow } from "../store/follow-ups.ts";
import { fillPrompt } from "./fill-prompt.ts";
import { findEvents, type GitEvent } from "./find-events.ts";
import type { LookFolder } from "./look-folder.ts";
import { follows, isFollowed, match, ruleId, touches, type Lineage, type Rule } from "./rules.ts";

export interface FollowUpsOptions {
  readonly app: App;
  readonly folder: LookFolder;
  /** What hooks start where no engine lives. */
  readonly wakeProgram: readonly [node: string, main: string];
  /** The rules that count now; reads the config's files where they changed. */
  readonly rules: () => Promise<readonly Rule[]>;
}

/** Signs can be missed (a hook that is not installed, a watch that can't be had). Costs one git, where rules are. */
const LOOK_EVERY_MS = 5_000;
/** A rebase or a pull runs several hooks. */
const GATHER_SIGNS_MS = 50;

export class FollowUps {
  readonly #options: FollowUpsOptions;
  #timer: NodeJS.Timeout | null = null;
  #poll: NodeJS.Timeout | null = null;
  #looking: Promise<void> | null = null;
  #isAskedAgain = false;
  #isStopped = false;
  /** The last sign that a look came after. */
  #heardAtMs = 0;
  /** When the next start that waits for its cooldown is due; null: none waits. */
  #dueAtMs: number | null = null;

  constructor(options: FollowUpsOptions) {
    this.#options = options;
  }

  /** Takes a first look; from then on looks by itself. */
  async start(): Promise<void> {
    const { folder, app } = this.#options;
    const log = (thrown: unknown): void => app.parts.log("warning", `hooks are not heard: ${messageOf(thrown)}`, {});
    folder.open(() => this.#lookIn(GATHER_SIGNS_MS), log);
    await this.look();
    this.#poll = setInterval(() => void this.look(), LOOK_EVERY_MS).unref();
  }

  /** Resolves after a look that began after the call. Never rejects. */
  async look(): Promise<void> {
    if (this.#isStopped) return;
    if (this.#looking !== null) {
      this.#isAskedAgain = true;
      return await this.#looking;
    }
    this.#looking = (async () => {
      do {
        this.#isAskedAgain = false;
        try {
          await this.#lookOnce();
        } catch (thrown) {
          this.#options.app.parts.log("warning", `git could not be looked at: ${messageOf(thrown)}`, {});
        }
      } while (this.#isAskedAgain && !this.#isStopped);
    })().finally(() => (this.#looking = null));
    return await this.#looking;
  }

  /** True while a start only waits for its time, or a hook's sign for a look. */
  canMove(): boolean {
    if (this.#looking !== null || this.#dueAtMs !== null) return true;
    return this.#options.folder.signedAtMs() > this.#heardAtMs;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#options.folder.close();
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#poll !== null) clearInterval(this.#poll);
    await this.#looking;
  }

  #lookIn(delayMs: number): void {
    if (this.#isStopped) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.look(), delayMs).unref();
  }

  async #lookOnce(): Promise<void> {
    const { folder, wakeProgram } = this.#options;
    this.#heardAtMs = folder.signedAtMs();
    const rules = await this.#options.rules();
    folder.setWake(rules.length > 0 ? wakeProgram : null);
    await this.#takeEvents(rules);
    if (rules.length > 0 && !this.#isStopped) await this.#startDue(rules);
  }

  async #takeEvents(rules: readonly Rule[]): Promise<void> {
    const { parts, scheduler } = this.#options.app;
    const { repository, store } = parts;
    const positions = store.followUps.positions();
    if (rules.length === 0 && positions.size === 0) return;
    const tips = rules.length === 0 ? new Map<string, string>() : await repository.branchTips();
    const followed = [...tips].filter(([branch]) => isFollowed(rules, branch));
    // No longer followed, or gone: what happens there meanwhile is nobody's event later.
    const left = [...positions.keys()].filter((branch) => !followed.some(([name]) => name === branch));
    const begun = await this.#placesToBegin(
      rules,
      followed.filter(([branch]) => !positions.has(branch)),
    );
    const isNews = left.length + begun.size > 0 || store.meta.get(RULES_SEEN) !== namesOf(rules);
    const note = (): void => {
      for (const branch of left) store.followUps.setPosition(branch, null);
      for (const [branch, sha] of begun) store.followUps.setPosition(branch, sha);
      store.meta.set(RULES_SEEN, namesOf(rules));
    };
    if (isNews) scheduler.commit(note);
    for (const [branch, tip] of followed) {
      if (this.#isStopped) return;
      const since = begun.get(branch) ?? positions.get(branch);
      if (since !== undefined && since !== tip) await this.#lookAt(branch, since, rules);
    }
  }

  /**
   * A branch that is seen for the first time has no events: it may be as old as the rule is young. Only one that was
   * made since the last look, under the same rules, is looked at from where it began.
   */
  async #placesToBegin(
    rules: readonly Rule[],
    fresh: readonly (readonly [branch: string, tip: string])[],
  ): Promise<Map<string, string>> {
    const { repository, store } = this.#options.app.parts;
    const wasFollowed = store.meta.get(RULES_SEEN) === namesOf(rules);
    const begun = new Map<string, string>();
    for (const [branch, tip] of fresh) {
      begun.set(branch, (wasFollowed ? await repository.branchBirth(branch) : null) ?? tip);
    }
    return begun;
  }

  async #lookAt(branch: string, since: string, rules: readonly Rule[]): Promise<void> {
    const { parts, scheduler } = this.#options.app;
    const { repository, store } = parts;
    const history = await repository.branchHistory(branch, since);
    if (history === null) {
      const tip = await repository.branchTip(branch);
      return scheduler.commit(() => store.followUps.setPosition(branch, tip));
    }
    const userEmail = await repository.userEmail();
    const events = findEvents(history, { userEmail, planOf: (sha) => store.merges.planOfCommit(sha) });
    const heads = events.length === 0 ? new Set<string>() : await repository.recentHeads();
    const found: FollowUpEvent[] = [];
    for (const event of events) {
      const { kind, baseSha, tipSha, movedTo } = event;
      const lineage = this.#lineageOf(event);
      let files: readonly string[] | null = null;
      for (const rule of rules) {
        const matched = follows(rule, branch, heads.has(movedTo)) ? match(rule, event, lineage) : null;
        if (matched === null) continue;
        if (rule.paths.length > 0) files ??= await this.#namesOf(baseSha, tipSha);
        if (!touches(rule, files ?? [])) continue;
        found.push({ rule: ruleId(rule), branch, kind, baseSha, tipSha, ...matched });
      }
    }
    scheduler.commit(() => {
      for (const row of found) store.followUps.add(row);
      store.followUps.setPosition(branch, history.tip);
    });
    crashPoint("follow-up-events-written");
  }

  #lineageOf(event: GitEvent): Lineage {
    const rows = event.plans.flatMap((plan) => this.#options.app.parts.store.followUps.listByPlan(plan));
    return {
      depth: Math.max(0, ...rows.map((row) => row.depth)),
      chain: [...new Set(rows.flatMap((row) => row.chain))],
    };
  }

  async #namesOf(baseSha: string, tipSha: string): Promise<string[]> {
    const bytes = await this.#options.app.parts.repository.changedNames(baseSha, tipSha);
    return bytes.toString("utf8").split("\0").slice(0, -1);
  }

  /** Events of one rule and branch that wait together start one follow-up, unless the rule has no cooldown. */
  async #startDue(rules: readonly Rule[]): Promise<void> {
    const { store, clock } = this.#options.app.parts;
    const byId = new Map(rules.map((rule) => [ruleId(rule), rule]));
    const groups = new Map<string, { rule: Rule | null; rows: FollowUpRow[] }>();
    for (const row of store.followUps.listDue()) {
      const rule = byId.get(row.rule) ?? null;
      const key = rule?.cooldownSeconds === 0 ? String(row.id) : `${row.rule} ${row.branch}`;
      const group = groups.get(key) ?? { rule, rows: [] };
      group.rows.push(row);
      groups.set(key, group);
    }
    this.#dueAtMs = null;
    for (const { rule, rows } of groups.values()) {
      if (this.#isStopped) return;
      if (rule === null) {
        this.#refuse(rows, "its rule is no longer in the config");
        continue;
      }
      const lastMs = store.followUps.lastStartMs(ruleId(rule));
      const dueAtMs = lastMs === null ? 0 : lastMs + rule.cooldownSeconds * 1000;
      // A clock that was set back must not hold it up for longer than the cooldown.
      const waitMs = Math.min(dueAtMs - clock.nowMs(), rule.cooldownSeconds * 1000);
      if (waitMs <= 0) await this.#begin(rule, rows);
      else this.#dueAtMs = Math.min(this.#dueAtMs ?? Infinity, clock.nowMs() + waitMs);
    }
    if (this.#dueAtMs !== null) this.#lookIn(Math.min(Math.max(this.#dueAtMs - clock.nowMs(), 1), LOOK_EVERY_MS));
  }

  async #begin(rule: Rule, rows: readonly FollowUpRow[]): Promise<void> {
    const { app } = this.#options;
    const { store, clock, repository, log } = app.parts;
    const [first] = rows;
    const last = rows.at(-1);
    if (first === undefined || last === undefined) return;
    const { branch, kind } = first;
    const short = last.tipSha.slice(0, 7);
    const index = (await this.#options.rules()).findIndex((candidate) => ruleId(candidate) === first.rule) + 1;
    const name = freeId(`follow-up-${index}-${short}`, (id) => store.plans.get(id) !== null);
    const title = `Follow the ${kind} ${short} on ${branch}`.slice(0, 190);
    try {
      const settings = await app.currentSettings();
      const provider = settings.plan.providers[settings.plan.roles[rule.agent]?.provider ?? ""];
      const prompt =
        provider?.kind === "command"
          ? rule.prompt
          : fillPrompt(rule.prompt, {
              commits: rows.flatMap((row) => row.commits),
              files: await this.#namesOf(first.baseSha, last.tipSha),
              branch,
              range: `${first.baseSha}..${last.tipSha}`,
            });
      const workflow = rule.workflow === null ? {} : { workflow: rule.workflow };
      const task = { id: "follow-up", title, prompt, agent: rule.agent, ...workflow };
      await submitPlan(
        app,
        { name, target: branch, tasks: [task] },
        {
          caller: { role: "operator", cwd: repository.mainWorktree, clientName: "follow-ups" },
          requestKey: null,
          signal: new AbortController().signal,
          progress: () => {},
          commit: (work) =>
            app.scheduler.commit(() => {
              const answer = work();
              const startedAtMs = clock.nowMs();
              for (const row of rows) store.followUps.update(row.id, { state: "started", planId: name, startedAtMs });
              return answer;
            }),
        },
      );
      crashPoint("follow-up-started");
      log("info", `follow-up ${name} starts: ${kind} ${short} on ${branch}`, {});
    } catch (thrown) {
      // The config is being changed: it is looked at again when it is done.
      if (hasCode(thrown, "CONFIG_UNTRUSTED", "CONFIG_INVALID")) return;
      if (!(thrown instanceof AppError)) log("error", `follow-up ${name}: ${messageOf(thrown)}`, {});
      this.#refuse(rows, messageOf(thrown));
    }
  }

  #refuse(rows: readonly FollowUpRow[], why: string): void {
    const { store } = this.#options.app.parts;
    const [first] = rows;
    if (first === undefined) return;
    this.#options.app.scheduler.commit(() => {
      for (const row of rows) store.followUps.update(row.id, { state: "refused", message: why });
      const message = `a follow-up of ${first.kind} ${first.tipSha.slice(0, 7)} on ${first.branch} was not started: ${why}`;
      store.events.append({ planId: null, taskId: null, attemptId: null, body: { type: "warning", message } });
    });
  }
}

/** The rules of the last look, in `meta`. */
const RULES_SEEN = "followUps.rules";

function namesOf(rules: readonly Rule[]): string {
  return rules.map(ruleId).join(" ");
}
