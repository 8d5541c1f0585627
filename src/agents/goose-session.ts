/** The name of the session that an attempt starts: ours, so that it can be continued without asking Goose for an id. */
export function gooseSessionName(attemptId: string): string {
  return `orchestrator-${attemptId}`;
}
