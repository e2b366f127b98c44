import { homedir } from "node:os";
import { join } from "node:path";
import type { Proxies } from "#registry";

type Environment = Readonly<Record<string, string | undefined>>;

/** docker's `config.json` and containers' `auth.json`, where their own programs look. docker-login(1), containers-auth.json(5) */
export function credentialPaths(env: Environment): readonly string[] {
  const runtime = env["XDG_RUNTIME_DIR"];
  return [
    ...(env["REGISTRY_AUTH_FILE"] === undefined ? [] : [env["REGISTRY_AUTH_FILE"]]),
    ...(runtime === undefined ? [] : [join(runtime, "containers/auth.json")]),
    join(env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config"), "containers/auth.json"),
    join(env["DOCKER_CONFIG"] ?? join(homedir(), ".docker"), "config.json"),
  ];
}

/** Lower case wins, as in curl. */
export function proxiesOf(env: Environment): Proxies {
  const read = (name: string): string | undefined => env[name] ?? env[name.toUpperCase()];
  const [http, https, no] = ["http_proxy", "https_proxy", "no_proxy"].map(read);
  return {
    ...(http === undefined ? {} : { http }),
    ...(https === undefined ? {} : { https }),
    ...(no === undefined ? {} : { no }),
  };
}
