// Runs each panel's transformations through Grafana's own code.
// stdin: [{title, transformations, frames}]; stdout: {title: [{field: values}]}. Frames are plain: {refId, fields: [{name, type, values}]}.
const noop = () => undefined;
globalThis.window = globalThis;
const element = () => ({ style: {}, sheet: { insertRule: noop, cssRules: [] }, getContext: () => null,
  setAttribute: noop, appendChild: noop, addEventListener: noop });
globalThis.document = {
  createElement: element,
  createTextNode: element,
  getElementsByTagName: () => [element()],
  documentElement: element(),
  head: element(),
  body: element(),
  addEventListener: noop,
};
globalThis.navigator ??= { userAgent: "node" };
globalThis.location ??= { href: "http://localhost/", search: "" };
globalThis.history ??= { pushState: noop, replaceState: noop };
globalThis.addEventListener ??= noop;
globalThis.matchMedia ??= () => ({ matches: false, addListener: noop });
globalThis.self ??= globalThis;

const data = require(process.argv[2] + "/node_modules/@grafana/data");
const { firstValueFrom } = require(process.argv[2] + "/node_modules/rxjs");

const byId = new Map(Object.values(data.standardTransformers).map((found) => [found.id, found])); // some have an alias
const lazy = parseInt(require(process.argv[2] + "/node_modules/@grafana/data/package.json").version) >= 13; // by a function
data.standardTransformersRegistry.setInit(() =>
  [...byId.values()].map((found) => ({
    id: found.id, name: found.name, transformation: lazy ? () => found : found,
  })));
data.standardFieldConfigEditorRegistry.setInit(() => []);

async function main() {
  const panels = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const answer = {};
  for (const panel of panels) {
    const frames = panel.frames.map((frame) => data.toDataFrame(frame));
    const context = { interpolate: (text) => text };
    const found = await firstValueFrom(data.transformDataFrame(panel.transformations, frames, context));
    answer[panel.title] = found.map((frame) => ({
      refId: frame.refId ?? null,
      fields: frame.fields.map((field) => ({
        name: data.getFieldDisplayName(field, frame, found), type: field.type, values: Array.from(field.values),
      })),
    }));
  }
  process.stdout.write(JSON.stringify(answer));
}
main().catch((error) => { console.error(error); process.exit(1); });
