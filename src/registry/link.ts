/** The target of the `rel="next"` link, resolved against the page it came with. RFC 8288; distribution-spec, "Listing Referrers". */
export function nextPage(header: string | readonly string[] | undefined, page: URL): URL | undefined {
  const lines = header === undefined ? [] : typeof header === "string" ? [header] : header;
  for (const line of lines)
    for (const [, target = "", parameters = ""] of line.matchAll(
      /<([^>]*)>((?:\s*;\s*[^\s=;,]+\s*=\s*(?:"[^"]*"|[^\s;,"]*))*)/g,
    ))
      if (
        /;\s*rel\s*=\s*(?:next\b|"(?:[^"]*\s)?next(?:\s[^"]*)?")/i.test(parameters) &&
        URL.canParse(target, page.href)
      )
        return new URL(target, page);
  return undefined;
}
