/** Prometheus' own words, for whoever serves `/metrics`. */
export { Counter, Gauge, Histogram, Registry } from "prom-client";
