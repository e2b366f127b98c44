import { destination, pino } from "pino";
import type { Log } from "#base";

const LEVELS = ["debug", "info", "warn", "error"] as const;
export type Level = (typeof LEVELS)[number];

/** JSON lines on standard error. The fields that could carry a secret are cut out, whatever they hold. */
export function createLog(level: Level): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: [
          "authorization",
          "password",
          "token",
          "auth",
          "credentials",
          "*.authorization",
          "*.password",
          "*.token",
          "*.auth",
          "*.credentials",
        ],
        censor: "[secret]",
      },
    },
    destination({ fd: 2, sync: true }),
  );
}
