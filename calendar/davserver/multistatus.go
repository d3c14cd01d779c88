package davserver

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"strconv"
)

// bufferedAnswer is how much of a multistatus is held back: up to there an error
// can still become a status.
const bufferedAnswer = 1 << 20

var errStreamBroken = errors.New("davserver: the answer broke off")

// multistatus is a 207 answer under way. It is written in pieces as it grows, so
// that its size is bounded by nothing.
type multistatus struct {
	w       http.ResponseWriter
	b       bytes.Buffer
	begun   bool // part of it has been sent
	minimal bool // Prefer: return=minimal
	err     error
}

func newMultistatus(w http.ResponseWriter, r *http.Request) *multistatus {
	m := &multistatus{w: w, minimal: prefersMinimal(r)}
	m.b.WriteString(xml.Header + "<D:multistatus" + declarations + ">\n")
	return m
}

// property is one that a resource has, with its XML, or one that it lacks.
type property struct {
	name  xml.Name
	xml   string // the whole element
	found bool
}

// response adds a resource with its properties.
func (m *multistatus) response(href string, props []property) error {
	b := &m.b
	b.WriteString("<D:response>")
	m.href(href)
	missing := 0
	for _, p := range props {
		if !p.found {
			missing++
		}
	}
	if found := len(props) - missing; found > 0 || missing == 0 || m.minimal {
		b.WriteString("<D:propstat><D:prop>")
		for _, p := range props {
			if p.found {
				b.WriteString(p.xml)
			}
		}
		b.WriteString("</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>")
	}
	if missing > 0 && !m.minimal {
		b.WriteString("<D:propstat><D:prop>")
		for _, p := range props {
			if !p.found {
				emptyTag(b, p.name)
			}
		}
		b.WriteString("</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>")
	}
	b.WriteString("</D:response>\n")
	return m.push()
}

// status adds a resource with a status and nothing else.
func (m *multistatus) status(href string, code int, f *failure) error {
	m.b.WriteString("<D:response>")
	m.href(href)
	m.b.WriteString("<D:status>" + statusLine(code) + "</D:status>")
	if f != nil {
		m.b.WriteString("<D:error>")
		f.writeCondition(&m.b)
		m.b.WriteString("</D:error>")
	}
	m.b.WriteString("</D:response>\n")
	return m.push()
}

func (m *multistatus) href(path string) {
	m.b.WriteString("<D:href>")
	escape(&m.b, path)
	m.b.WriteString("</D:href>")
}

// push sends what there is, if it is much.
func (m *multistatus) push() error {
	if m.b.Len() < bufferedAnswer {
		return m.err
	}
	m.head()
	if _, err := m.w.Write(m.b.Bytes()); err != nil {
		m.err = errStreamBroken
		return m.err
	}
	m.b.Reset()
	http.NewResponseController(m.w).Flush() // not every ResponseWriter can
	return nil
}

func (m *multistatus) head() {
	if m.begun {
		return
	}
	m.begun = true
	h := m.w.Header()
	h.Set("Content-Type", "application/xml; charset=utf-8")
	if m.minimal {
		h.Set("Preference-Applied", "return=minimal")
	}
	m.w.WriteHeader(http.StatusMultiStatus)
}

// end sends the rest. extra is XML behind the responses.
func (m *multistatus) end(extra string) error {
	m.b.WriteString(extra)
	m.b.WriteString("</D:multistatus>\n")
	if !m.begun {
		m.w.Header().Set("Content-Length", strconv.Itoa(m.b.Len()))
		m.head()
	}
	m.w.Write(m.b.Bytes())
	return nil
}

// abort is for an error in the middle: if the status is gone already, the answer has
// to break off, or the client would take what it has for the whole.
func (m *multistatus) abort(ctx context.Context, err error) error {
	if !m.begun {
		return err
	}
	if ctx.Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler)
	}
	return nil // the XML has no end, which a reader notices
}

func statusLine(code int) string {
	return "HTTP/1.1 " + strconv.Itoa(code) + " " + http.StatusText(code)
}

// writeXML answers with a whole document.
func writeXML(w http.ResponseWriter, r *http.Request, code int, body []byte) {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}
