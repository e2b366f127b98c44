import { Counter, Gauge, Histogram, Registry } from "#wire";

/** What a kubelet counts, under upstream's names where it has one. */
export interface Metrics {
  readonly registry: Registry;
  readonly imageVolumesRequested: Counter;
  readonly imageVolumesMounted: Counter;
  readonly imageVolumesFailed: Counter;
  readonly pullSeconds: Histogram<"image_size_in_bytes">;
  readonly ensured: Counter<"pull_policy" | "present_locally" | "pull_required">;
  readonly checked: Counter<"result">;
  readonly collected: Counter<"reason">;
  readonly pods: Gauge;
  readonly containers: Gauge<"container_state">;
  readonly pulling: Gauge;
  readonly pullReceived: Gauge<"image">;
  readonly pullTotal: Gauge<"image">;
  readonly pullRate: Gauge<"image">;
  readonly blobReceived: Gauge<"image" | "digest">;
  readonly blobTotal: Gauge<"image" | "digest">;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    imageVolumesRequested: new Counter({
      name: "kubelet_image_volume_requested_total",
      help: "Image volumes that containers asked for.",
      registers,
    }),
    imageVolumesMounted: new Counter({
      name: "kubelet_image_volume_mounted_succeed_total",
      help: "Image volumes that were mounted.",
      registers,
    }),
    imageVolumesFailed: new Counter({
      name: "kubelet_image_volume_mounted_errors_total",
      help: "Image volumes that could not be mounted.",
      registers,
    }),
    pullSeconds: new Histogram({
      name: "kubelet_image_pull_duration_seconds",
      help: "Seconds that pulling an image took, by its size.",
      labelNames: ["image_size_in_bytes"],
      buckets: [1, 5, 10, 20, 30, 60, 180, 300, 600, 900, 1200, 1800, 2700, 3600],
      registers,
    }),
    ensured: new Counter({
      name: "kubelet_image_manager_ensure_image_requests_total",
      help: "Requests that an image be present.",
      labelNames: ["pull_policy", "present_locally", "pull_required"],
      registers,
    }),
    checked: new Counter({
      name: "kubelet_imagemanager_image_mustpull_checks_total",
      help: "Checks whether a Pod may use an image that is here.",
      labelNames: ["result"],
      registers,
    }),
    collected: new Counter({
      name: "kubelet_image_garbage_collected_total",
      help: "Images that were collected.",
      labelNames: ["reason"],
      registers,
    }),
    pods: new Gauge({ name: "kubelet_running_pods", help: "Pods that have a running sandbox.", registers }),
    containers: new Gauge({
      name: "kubelet_running_containers",
      help: "Containers by their state.",
      labelNames: ["container_state"],
      registers,
    }),
    pullReceived: new Gauge({
      name: "orlop_kubelet_pull_received_bytes",
      help: "Bytes that a pull under way has received.",
      labelNames: ["image"],
      registers,
    }),
    pullTotal: new Gauge({
      name: "orlop_kubelet_pull_total_bytes",
      help: "Bytes that a pull under way will receive; 0 where it is not known.",
      labelNames: ["image"],
      registers,
    }),
    pullRate: new Gauge({
      name: "orlop_kubelet_pull_bytes_per_second",
      help: "How fast a pull under way has come since the last look.",
      labelNames: ["image"],
      registers,
    }),
    blobReceived: new Gauge({
      name: "orlop_kubelet_pull_blob_received_bytes",
      help: "Bytes of one blob that a pull under way has received.",
      labelNames: ["image", "digest"],
      registers,
    }),
    blobTotal: new Gauge({
      name: "orlop_kubelet_pull_blob_total_bytes",
      help: "Bytes of one blob that a pull under way will receive; 0 where it is not known.",
      labelNames: ["image", "digest"],
      registers,
    }),
    pulling: new Gauge({ name: "orlop_kubelet_pulls_running", help: "Pulls under way.", registers }),
  };
}
