package caldav

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
)

// Limits of the XML that is read. A home of a thousand calendars has 60,000 elements, a
// listing of 100,000 objects a million.
const (
	maxDepth       = 32
	maxElements    = 4_000_000 // in a document
	maxPerResponse = 100_000   // of them in one response
)

// node is an element that was read whole. Text is that of the element itself; in an
// element with children only white space stands between them, and is dropped.
type node struct {
	name xml.Name
	attr string // the value of its attribute "name", the only one CalDAV's answers need
	text string
	kids []*node
}

// kid returns the first child with a name, or nil. A nil node has none.
func (n *node) kid(name xml.Name) *node {
	if n == nil {
		return nil
	}
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	return nil
}

// hrefs returns the DAV:href children of a node.
func (n *node) hrefs() []string {
	if n == nil {
		return nil
	}
	var out []string
	for _, k := range n.kids {
		if k.name == dav("href") {
			out = append(out, k.text)
		}
	}
	return out
}

// decoder reads XML of a server that is not trusted:
//
//  1. No document type declaration: no entities, and so no expansion.
//  2. Memory is that of one response element, however long the document; the response is
//     bounded in bytes, elements and depth.
//  3. The document is bounded in bytes and elements.
type decoder struct {
	in       *meter
	x        *xml.Decoder
	elements int
	inside   int // elements since the last mark
}

func newDecoder(r io.Reader, limit, perResponse int64) *decoder {
	in := &meter{r: r, limit: limit, perResponse: perResponse}
	// encoding/xml decodes UTF-8 only, knows no entities but the five of XML, and reads
	// ahead by one buffer.
	return &decoder{in: in, x: xml.NewDecoder(in)}
}

// meter counts what the XML decoder reads.
type meter struct {
	r           io.Reader
	limit       int64 // of the document
	perResponse int64
	read        int64
	marked      int64
	err         error // the first error that is no end
}

func (m *meter) Read(p []byte) (int, error) {
	switch {
	case m.read > m.limit:
		m.err = &LimitError{What: "answer", Limit: m.limit}
	case m.read-m.marked > m.perResponse:
		m.err = &LimitError{What: "property", Limit: m.perResponse}
	}
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.r.Read(p)
	m.read += int64(n)
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

// mark begins a response.
func (d *decoder) mark() { d.in.marked, d.inside = d.in.read, 0 }

// next returns the next start, end or text. A text is valid until the next call.
func (d *decoder) next() (xml.Token, error) {
	for {
		tok, err := d.x.Token()
		if err != nil {
			return nil, d.fault(err)
		}
		switch tok.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("%w: document type declaration", ErrMalformed)
		case xml.StartElement:
			d.elements++
			d.inside++
			if d.elements > maxElements || d.inside > maxPerResponse {
				return nil, &LimitError{What: "elements", Limit: maxPerResponse}
			}
			return tok, nil
		case xml.EndElement, xml.CharData:
			return tok, nil
		}
	}
}

// fault tells an input that broke off from one that is wrong.
func (d *decoder) fault(err error) error {
	if d.in.err != nil {
		return d.in.err
	}
	if err == io.EOF {
		return io.EOF
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// root returns the first element.
func (d *decoder) root() (xml.StartElement, error) {
	for {
		tok, err := d.next()
		if err == io.EOF {
			return xml.StartElement{}, fmt.Errorf("%w: no XML", ErrMalformed)
		}
		if err != nil {
			return xml.StartElement{}, err
		}
		if start, ok := tok.(xml.StartElement); ok {
			return start, nil
		}
	}
}

// document reads a small document whole.
func (d *decoder) document() (*node, error) {
	start, err := d.root()
	if err != nil {
		return nil, err
	}
	return d.element(start, 1)
}

// element reads an element whose start was read.
func (d *decoder) element(start xml.StartElement, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, &LimitError{What: "depth", Limit: maxDepth}
	}
	n := &node{name: start.Name}
	for _, a := range start.Attr {
		if a.Name.Local == "name" && a.Name.Space == "" {
			n.attr = a.Value
		}
	}
	var text []byte
	for {
		tok, err := d.next()
		if err == io.EOF {
			return nil, fmt.Errorf("%w: the XML breaks off", ErrMalformed)
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			kid, err := d.element(tok, depth+1)
			if err != nil {
				return nil, err
			}
			n.kids = append(n.kids, kid)
		case xml.CharData:
			if len(text) > 0 || len(bytes.TrimSpace(tok)) > 0 {
				text = append(text, tok...)
			}
		case xml.EndElement:
			if len(n.kids) == 0 {
				n.text = string(text)
			}
			return n, nil
		}
	}
}
