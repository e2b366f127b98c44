import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  DocumentSchema,
  type NamedAnySchema,
  type OperationSchema,
  type ParametersItemSchema,
  type SchemaSchema,
} from "./gen/openapi_v2_pb.ts";

/** A JSON schema as OpenAPI 2 has it, as far as it can be encoded. */
export interface OpenApiV2Schema {
  readonly $ref?: string;
  readonly description?: string;
  readonly type?: string;
  readonly format?: string;
  readonly default?: unknown;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, OpenApiV2Schema>>;
  readonly items?: OpenApiV2Schema;
  readonly additionalProperties?: OpenApiV2Schema;
}

/** An OpenAPI 2 document as JSON, with the parts that {@link encodeOpenApiV2} carries over; others are left out. */
export interface OpenApiV2Document {
  readonly swagger: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly definitions: Readonly<Record<string, OpenApiV2Schema>>;
}

interface Operation {
  readonly operationId?: string;
  readonly consumes?: string[];
  readonly produces?: string[];
  readonly parameters?: readonly Parameter[];
  readonly responses?: Readonly<Record<string, { readonly description: string; readonly schema?: OpenApiV2Schema }>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly type?: string;
  readonly description?: string;
  readonly required?: boolean;
  readonly uniqueItems?: boolean;
  readonly schema?: OpenApiV2Schema;
}

/** The document as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`, the form older kubectls ask for. */
export function encodeOpenApiV2(document: OpenApiV2Document): Uint8Array {
  const paths = Object.entries(document.paths).map(([name, item]) => {
    const at = (method: string): { [key: string]: MessageInitShape<typeof OperationSchema> } =>
      item[method] === undefined ? {} : { [method]: operation(item[method] as Operation) };
    const methods = ["get", "put", "post", "delete", "patch"].map(at);
    return {
      name,
      value: Object.assign(
        { parameters: ((item["parameters"] ?? []) as Parameter[]).map(parameter) },
        ...methods,
      ) as object,
    };
  });
  return toBinary(
    DocumentSchema,
    create(DocumentSchema, {
      swagger: document.swagger,
      info: document.info,
      paths: { path: paths },
      definitions: { additionalProperties: schemas(document.definitions) },
    }),
  );
}

function operation(one: Operation): MessageInitShape<typeof OperationSchema> {
  return {
    operationId: one.operationId ?? "",
    consumes: one.consumes ?? [],
    produces: one.produces ?? [],
    parameters: (one.parameters ?? []).map(parameter),
    responses: {
      responseCode: Object.entries(one.responses ?? {}).map(([name, { description, schema: body }]) => ({
        name,
        value: { response: { description, ...(body === undefined ? {} : { schema: { schema: schema(body) } }) } },
      })),
    },
    vendorExtension: extensions(one),
  };
}

function parameter(one: Parameter): MessageInitShape<typeof ParametersItemSchema> {
  const { name, in: where, description = "", type = "", required = false, uniqueItems = false } = one;
  if (one.schema !== undefined)
    return { parameter: { bodyParameter: { name, in: where, required, schema: schema(one.schema) } } };
  const common = { name, in: where, description, type, uniqueItems };
  return {
    parameter: {
      nonBodyParameter:
        where === "path" ? { pathParameterSubSchema: { ...common, required } } : { queryParameterSubSchema: common },
    },
  };
}

function schemas(named: Readonly<Record<string, OpenApiV2Schema>>): {
  name: string;
  value: MessageInitShape<typeof SchemaSchema>;
}[] {
  return Object.entries(named).map(([name, value]) => ({ name, value: schema(value) }));
}

function schema(one: OpenApiV2Schema): MessageInitShape<typeof SchemaSchema> {
  return {
    ref: one.$ref ?? "",
    format: one.format ?? "",
    description: one.description ?? "",
    required: [...(one.required ?? [])],
    vendorExtension: extensions(one),
    ...(one.default === undefined ? {} : { default: { yaml: JSON.stringify(one.default) } }),
    ...(one.type === undefined ? {} : { type: { value: [one.type] } }),
    ...(one.items === undefined ? {} : { items: { schema: [schema(one.items)] } }),
    ...(one.properties === undefined ? {} : { properties: { additionalProperties: schemas(one.properties) } }),
    ...(one.additionalProperties === undefined
      ? {}
      : { additionalProperties: { schema: schema(one.additionalProperties) } }),
  };
}

/** JSON is YAML: extensions travel as text. */
function extensions(one: object): MessageInitShape<typeof NamedAnySchema>[] {
  return Object.entries(one)
    .filter(([name]) => name.startsWith("x-"))
    .map(([name, value]) => ({ name, value: { yaml: JSON.stringify(value) } }));
}
