import { z } from "zod";
import type { ToolListing } from "../engine/engine-host.ts";
import { OPERATIONS } from "./list.ts";

/** The tools as transports list them. */
export function toolListings(): readonly ToolListing[] {
  return OPERATIONS.filter((operation) => operation.isTool).map((operation) => ({
    name: operation.name,
    title: operation.title,
    description: operation.description,
    audience: operation.audience,
    isReading: operation.isReading,
    inputSchema: jsonSchema(operation.input, "input"),
    outputSchema: jsonSchema(operation.output, "output"),
  }));
}

function jsonSchema(schema: z.ZodType, io: "input" | "output"): Record<string, unknown> {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, target: "draft-7" });
  return rest;
}
