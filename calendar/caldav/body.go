package caldav

import (
	"bytes"
	"encoding/xml"
	"maps"
	"slices"
)

// body writes the XML of a request. encoding/xml's own encoder repeats namespaces on every
// element and knows no prefixes, which some servers' tools can't read.
type body struct {
	b    bytes.Buffer
	open []xml.Name
}

func newBody(root xml.Name) *body {
	w := &body{}
	w.b.WriteString(xml.Header)
	w.b.WriteString("<" + qualified(root))
	for _, space := range slices.Sorted(maps.Keys(prefixes)) {
		w.b.WriteString(" xmlns:" + prefixes[space] + `="` + space + `"`)
	}
	w.b.WriteString(">")
	w.open = append(w.open, root)
	return w
}

// qualified returns the prefixed name. Only names known to this package are written.
func qualified(name xml.Name) string { return prefixes[name.Space] + ":" + name.Local }

func (w *body) start(name xml.Name) *body {
	w.b.WriteString("<" + qualified(name) + ">")
	w.open = append(w.open, name)
	return w
}

func (w *body) end() *body {
	last := len(w.open) - 1
	w.b.WriteString("</" + qualified(w.open[last]) + ">")
	w.open = w.open[:last]
	return w
}

// empty writes an element without content. attrs are pairs of names and values.
func (w *body) empty(name xml.Name, attrs ...string) *body {
	w.attributes(name, attrs)
	w.b.WriteString("/>")
	return w
}

func (w *body) startAttrs(name xml.Name, attrs ...string) *body {
	w.attributes(name, attrs)
	w.b.WriteString(">")
	w.open = append(w.open, name)
	return w
}

func (w *body) attributes(name xml.Name, attrs []string) {
	w.b.WriteString("<" + qualified(name))
	for i := 0; i+1 < len(attrs); i += 2 {
		w.b.WriteString(" " + attrs[i] + `="`)
		xml.EscapeText(&w.b, []byte(attrs[i+1]))
		w.b.WriteString(`"`)
	}
}

// text writes an element with text. Bytes that XML can't carry become U+FFFD.
func (w *body) text(name xml.Name, text string) *body {
	w.start(name)
	xml.EscapeText(&w.b, []byte(text))
	return w.end()
}

// props writes a DAV:prop with empty elements: a question.
func (w *body) props(names ...xml.Name) *body {
	w.start(dav("prop"))
	for _, name := range names {
		w.empty(name)
	}
	return w.end()
}

// bytes closes what is open and returns the document.
func (w *body) bytes() []byte {
	for len(w.open) > 0 {
		w.end()
	}
	return w.b.Bytes()
}
