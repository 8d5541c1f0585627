import type { ToolListing } from "../engine/engine-host.ts";
import { OPERATIONS } from "./list.ts";
import { toolInputSchema, toolOutputSchema } from "./tool-schema.ts";

/** The tools as transports list them. */
export function toolListings(): readonly ToolListing[] {
  return OPERATIONS.filter((operation) => operation.isTool).map((operation) => ({
    name: operation.name,
    title: operation.title,
    description: operation.description,
    audience: operation.audience,
    isReading: operation.isReading,
    inputSchema: toolInputSchema(operation.input),
    outputSchema: toolOutputSchema(operation.output),
  }));
}
