/** What the core knows of questions (DESIGN section 8): who may be asked, and who may answer. */

/** Who is asked actively, one after the other. Whoever is asked, anybody may answer while the question is open. */
export const QUESTION_STAGES = ["parent", "orchestrator", "human"] as const;
export type QuestionStage = (typeof QUESTION_STAGES)[number];

/** The places of a route: `memory` answers at once or not at all. */
export type RouteStep = "memory" | QuestionStage;

/** `memory`: somebody answered the same question before · `nobody`: every deadline passed. */
export const ANSWERED_BY = ["memory", "parent", "orchestrator", "human", "nobody"] as const;
export type AnsweredBy = (typeof ANSWERED_BY)[number];
