import { destination, pino } from "pino";
import { silent, type Log } from "#base";

const LEVELS = ["debug", "info", "warn", "error"] as const;
export type Level = (typeof LEVELS)[number];

/** What a command warns of, for the person who called it: one line, and the fields behind it. */
export function plainLog(): Log {
  const warn = (fields: object, message: string): void => {
    const details = Object.values(fields).map((value) => (value instanceof Error ? value.message : String(value)));
    process.stderr.write(`orlop: ${[message, ...details].join(": ").replace(/\s*\n\s*/g, " ")}\n`);
  };
  return { ...silent, warn, error: warn };
}

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
