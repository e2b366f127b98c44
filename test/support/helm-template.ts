/**
 * What `helm template release ./web` (3.x) writes for a chart with an account, a Secret, a ConfigMap, a Pod, a template that comes
 * out empty, and a Pod that is a hook. No helm can be had from Debian or npm: this stands for it, to the letter.
 */
export const helmTemplate = (tag: string): string => `---
# Source: web/templates/serviceaccount.yaml
apiVersion: v1
kind: ServiceAccount
metadata:
  name: release-web
  labels:${LABELS}
automountServiceAccountToken: true
---
# Source: web/templates/secret.yaml
apiVersion: v1
kind: Secret
metadata:
  name: release-web
  labels:${LABELS}
type: Opaque
data:
  # generated anew unless given
  password: "c2VjcmV0"
stringData:
  user: "admin"
---
# Source: web/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: release-web
  labels:${LABELS}
data:
  port: "8080"
  debug: "true"
  nginx.conf: |
    server {
      listen 8080;

      location / { root /volume; }
    }
---
# Source: web/templates/ingress.yaml
---
# Source: web/templates/pod.yaml
apiVersion: v1
kind: Pod
metadata:
  name: release-web
  labels:${LABELS}
  annotations:
    checksum/config: 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4
spec:
  serviceAccountName: release-web
  securityContext:
    {}
  containers:
    - name: web
      securityContext:
        {}
      image: "nginx:${tag}"
      imagePullPolicy: IfNotPresent
      ports:
        - name: http
          containerPort: 8080
          protocol: TCP
      envFrom:
        - secretRef: {name: release-web}
      livenessProbe:
        httpGet:
          path: /
          port: http
      resources:
        limits:
          cpu: 100m
          memory: 128Mi
        requests:
          cpu: 0.1
          memory: 134217728
      volumeMounts:
        - name: content
          mountPath: /volume
        - name: config
          mountPath: /etc/nginx/conf.d
  volumes:
    - name: content
      image:
        reference: quay.io/crio/artifact:v1
        pullPolicy: IfNotPresent
    - name: config
      configMap:
        name: release-web
---
# Source: web/templates/tests/test-connection.yaml
apiVersion: v1
kind: Pod
metadata:
  name: "release-web-test-connection"
  labels:${LABELS}
  annotations:
    "helm.sh/hook": test
    "helm.sh/hook-delete-policy": before-hook-creation,hook-succeeded
spec:
  containers:
    - name: wget
      image: busybox
      command: ['wget']
      args: ['release-web:8080']
  restartPolicy: Never
`;

const LABELS = `
    helm.sh/chart: web-0.1.0
    app.kubernetes.io/name: web
    app.kubernetes.io/instance: release
    app.kubernetes.io/version: "1.16.0"
    app.kubernetes.io/managed-by: Helm`;
