/** Providers that let no task through now, as the running engine knows them. */
import type { Output } from "../engine-session.ts";
import type { Finding } from "../render-doctor.ts";

/** Nothing without an engine, and nothing of what is well. */
export function checkProviders(info: Pick<Output<"engine_info">, "providers"> | null): Finding[] {
  return (info?.providers ?? []).flatMap(({ name, state, until, reason, command }) => {
    if (state === "healthy") return [];
    const message = `provider ${name}: ${state}${until === null ? "" : ` until ${until}`}${reason === null ? "" : `: ${reason}`}`;
    return [{ check: "provider", level: "warn" as const, message, fix: command }];
  });
}
