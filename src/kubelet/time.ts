/** Milliseconds since the epoch as the API writes times: whole seconds. */
export const seconds = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
