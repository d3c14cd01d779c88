package davserver

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on the XML of a request, apart from its size.
const (
	maxDepth      = 32
	maxElements   = 50_000
	maxAttributes = 32
)

// element is a node of a request's XML: an element, or text if it has no name.
type element struct {
	Name     xml.Name
	Attrs    []xml.Attr // without namespace declarations
	Children []*element
	Chars    string // of a text node
}

var (
	errXMLSyntax   = errors.New("the body is not well-formed XML")
	errXMLDoctype  = errors.New("a document type declaration is not allowed")
	errXMLTooLarge = errors.New("the XML is nested too deeply or has too many elements")
)

// parseXML reads a document within the limits. Entities other than XML's own and
// document types are refused, so what is read is never larger than what was sent.
func parseXML(data []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	top := new(element)
	open := []*element{top}
	count := 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errXMLSyntax
		}
		e := open[len(open)-1]
		switch t := tok.(type) {
		case xml.StartElement:
			count++
			if len(open) > maxDepth || count > maxElements || len(t.Attr) > maxAttributes {
				return nil, errXMLTooLarge
			}
			child := &element{Name: t.Name, Attrs: plainAttrs(t.Attr)}
			if e == top && len(top.Children) > 0 || !child.wellNamed() {
				return nil, errXMLSyntax
			}
			e.Children = append(e.Children, child)
			open = append(open, child)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if e != top {
				e.Children = append(e.Children, &element{Chars: string(t)})
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, errXMLSyntax
			}
		case xml.Directive:
			return nil, errXMLDoctype
		}
	}
	if len(top.Children) != 1 {
		return nil, errXMLSyntax
	}
	return top.Children[0], nil
}

// wellNamed reports whether the names can be written without their prefixes: the
// decoder lets "a:0" pass.
func (e *element) wellNamed() bool {
	ok := isName(e.Name.Local)
	for _, a := range e.Attrs {
		ok = ok && isName(a.Name.Local)
	}
	return ok
}

func isName(local string) bool {
	first, _ := utf8.DecodeRuneInString(local)
	return (first == '_' || unicode.IsLetter(first)) && !strings.Contains(local, ":")
}

func plainAttrs(attrs []xml.Attr) []xml.Attr {
	var out []xml.Attr
	for _, a := range attrs {
		if a.Name.Space != "xmlns" && a.Name != (xml.Name{Local: "xmlns"}) {
			out = append(out, a)
		}
	}
	return out
}

// child returns the first child of that name, nil if there is none.
func (e *element) child(name xml.Name) *element {
	if e != nil {
		for _, c := range e.Children {
			if c.Name == name {
				return c
			}
		}
	}
	return nil
}

// elements returns the children that are elements.
func (e *element) elements() []*element {
	var out []*element
	if e != nil {
		for _, c := range e.Children {
			if c.Name.Local != "" {
				out = append(out, c)
			}
		}
	}
	return out
}

// named returns the children of that name.
func (e *element) named(name xml.Name) []*element {
	var out []*element
	for _, c := range e.elements() {
		if c.Name == name {
			out = append(out, c)
		}
	}
	return out
}

// count returns how many elements are inside e, at any depth.
func (e *element) count() int {
	n := 0
	for _, c := range e.elements() {
		n += 1 + c.count()
	}
	return n
}

// attr returns an attribute without a namespace.
func (e *element) attr(local string) (value string, ok bool) {
	for _, a := range e.Attrs {
		if a.Name == (xml.Name{Local: local}) {
			return a.Value, true
		}
	}
	return "", false
}

// text returns the characters directly inside.
func (e *element) text() string {
	if e == nil {
		return ""
	}
	if len(e.Children) == 1 {
		return e.Children[0].Chars
	}
	var b strings.Builder
	for _, c := range e.Children {
		b.WriteString(c.Chars)
	}
	return b.String()
}

// xml writes the element so that it stands on its own, whatever is declared around it.
func (e *element) xml() string {
	var b bytes.Buffer
	e.write(&b, "")
	return b.String()
}

func (e *element) write(b *bytes.Buffer, space string) {
	if e.Name.Local == "" {
		escape(b, e.Chars)
		return
	}
	b.WriteString("<" + e.Name.Local)
	if e.Name.Space != space {
		b.WriteString(` xmlns="`)
		escapeAttr(b, e.Name.Space)
		b.WriteByte('"')
	}
	for i, a := range e.Attrs {
		switch a.Name.Space {
		case "":
			b.WriteString(" " + a.Name.Local)
		case nsXML:
			b.WriteString(" xml:" + a.Name.Local)
		default:
			prefix := "a" + strconv.Itoa(i)
			b.WriteString(" xmlns:" + prefix + `="`)
			escapeAttr(b, a.Name.Space)
			b.WriteString(`" ` + prefix + ":" + a.Name.Local)
		}
		b.WriteString(`="`)
		escapeAttr(b, a.Value)
		b.WriteByte('"')
	}
	if len(e.Children) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteByte('>')
	for _, c := range e.Children {
		c.write(b, e.Name.Space)
	}
	b.WriteString("</" + e.Name.Local + ">")
}

// escape writes text. A carriage return is written as a reference, or the reader
// would take it for a line feed.
func escape(b *bytes.Buffer, s string) { escapeWith(b, s, textRef) }

// escapeAttr writes the value of an attribute.
func escapeAttr(b *bytes.Buffer, s string) { escapeWith(b, s, attrRef) }

func textRef(c byte) string {
	switch c {
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '&':
		return "&amp;"
	case '\r':
		return "&#13;"
	}
	return ""
}

func attrRef(c byte) string {
	switch c {
	case '"':
		return "&quot;"
	case '\n':
		return "&#10;"
	case '\t':
		return "&#9;"
	}
	return textRef(c)
}

func escapeWith(b *bytes.Buffer, s string, ref func(byte) string) {
	last := 0
	for i := range len(s) {
		if r := ref(s[i]); r != "" {
			b.WriteString(s[last:i])
			b.WriteString(r)
			last = i + 1
		}
	}
	b.WriteString(s[last:])
}

func escaped(s string) string {
	var b bytes.Buffer
	escape(&b, s)
	return b.String()
}

// openTag and closeTag write a tag of a known namespace with its prefix, of another
// with a declaration.
func openTag(b *bytes.Buffer, name xml.Name) {
	if p, ok := prefixes[name.Space]; ok {
		b.WriteString("<" + p + ":" + name.Local + ">")
		return
	}
	b.WriteString("<" + name.Local + ` xmlns="`)
	escapeAttr(b, name.Space)
	b.WriteString(`">`)
}

func closeTag(b *bytes.Buffer, name xml.Name) {
	b.WriteString("</")
	if p, ok := prefixes[name.Space]; ok {
		b.WriteString(p + ":")
	}
	b.WriteString(name.Local + ">")
}

func emptyTag(b *bytes.Buffer, name xml.Name) {
	openTag(b, name)
	b.Truncate(b.Len() - 1)
	b.WriteString("/>")
}

func textElement(name xml.Name, text string) *element {
	return &element{Name: name, Children: []*element{{Chars: text}}}
}
