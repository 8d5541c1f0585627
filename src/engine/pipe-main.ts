#!/usr/bin/env node
/** The command `orchestrator-mcp`, which hosts start: the pipe and nothing else. */
import { runPipe } from "./pipe.ts";

runPipe(process.argv.slice(2));
