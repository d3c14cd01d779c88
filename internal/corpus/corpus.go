// Package corpus plays recorded dialogues with SessionStore and CalendarCache
// and compares the answers, in process or through a server.
//
// There are two files of dialogues, in the same format: testdata/seed.jsonl is what
// the TypeScript classes that these two come from answer, testdata/here.jsonl what
// is different here and what is added.
//
// A line is a JSON object; see [Row]. In a path, a request's body and an expected
// body, ${NAME} stands for a session id that an earlier row captured, and ${c*N}
// for N times the character c. In an expected body, the string "${T}" stands for a
// time in Unix milliseconds, "${ANY}" for any value; in an expected header ${AGE}
// for a number of milliseconds. A JSON body is compared as a value, numbers as
// float64, any other as text.
package corpus

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

//go:embed testdata/*.jsonl
var files embed.FS

// Row is a request with the answer that must come, or an operation on the server.
type Row struct {
	I       int
	File    string `json:"-"`
	Group   string
	Note    string
	Op      string // "restart" or "kill9" the server on the same data; no request then
	Class   string // "session" or "cache"
	Do      string // the object's name
	Method  string
	Path    string // as the object sees it, with the query
	Body    string
	Status  int
	Capture string // call the answer's sessionId so from here on

	ReqBody    string
	ReqHeaders map[string]string
	Headers    map[string]string // the answer has these, among others
}

// Rows returns all rows, those of the seed first.
func Rows() ([]Row, error) {
	var rows []Row
	for _, file := range []string{"seed.jsonl", "here.jsonl"} {
		text, err := files.ReadFile("testdata/" + file)
		if err != nil {
			return nil, err
		}
		for d := json.NewDecoder(bytes.NewReader(text)); d.More(); {
			row := Row{File: file}
			d.DisallowUnknownFields()
			if err := d.Decode(&row); err != nil {
				return nil, fmt.Errorf("%s, row after %d: %w", file, len(rows), err)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// Target is what the dialogues are held with.
type Target struct {
	// Send sends a row's request, in which everything is filled in.
	Send func(row Row) (*Answer, error)

	// Restart stops the server in good order and starts it again on the same data;
	// Kill does so without warning. A nil one skips rows that ask for it.
	Restart, Kill func() error
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Run plays rows in order and reports each answer that is not the expected one.
func Run(t testing.TB, rows []Row, target Target) {
	t.Helper()
	captured := make(map[string]string)
	for _, row := range rows {
		if err := play(target, row, captured); err != nil {
			t.Errorf("%s %d (%s; %s): %s %s %.200s: %v", row.File, row.I, row.Group, row.Note, row.Method, row.Path, row.ReqBody, err)
		}
	}
}

func play(target Target, row Row, captured map[string]string) error {
	operations := map[string]func() error{"restart": target.Restart, "kill9": target.Kill}
	if op, ok := operations[row.Op]; ok {
		if op == nil {
			return nil
		}
		return op()
	}
	row.Path = fill(row.Path, captured)
	row.ReqBody = fill(row.ReqBody, captured)
	got, err := target.Send(row)
	if err != nil {
		return err
	}
	if got.Status != row.Status {
		return fmt.Errorf("status %d, want %d; body %.200s", got.Status, row.Status, got.Body)
	}
	if row.Capture != "" {
		var created struct{ SessionID string }
		if err := json.Unmarshal(got.Body, &created); err != nil {
			return err
		}
		captured[row.Capture] = created.SessionID
	}
	for name, want := range row.Headers {
		if err := compareHeader(got.Header.Get(name), want); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	return compareBody(got.Body, fill(row.Body, captured), row.Headers["content-type"] == "application/json")
}

var (
	placeholder = regexp.MustCompile(`\$\{(\w+)\}`)
	repetition  = regexp.MustCompile(`\$\{(.)\*(\d+)\}`)
	digits      = regexp.MustCompile(`^\d+$`)
)

func fill(text string, captured map[string]string) string {
	text = placeholder.ReplaceAllStringFunc(text, func(s string) string {
		if id, ok := captured[s[2:len(s)-1]]; ok {
			return id
		}
		return s
	})
	return repetition.ReplaceAllStringFunc(text, func(s string) string {
		m := repetition.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
}

func compareHeader(got, want string) error {
	if got == want || want == "${AGE}" && digits.MatchString(got) {
		return nil
	}
	return fmt.Errorf("%q, want %q", got, want)
}

func compareBody(got []byte, want string, isJSON bool) error {
	if !isJSON {
		if string(got) != want {
			return fmt.Errorf("body %.200q, want %q", got, want)
		}
		return nil
	}
	g, err := decode(got)
	if err != nil {
		return fmt.Errorf("body %.200q: %w", got, err)
	}
	w, err := decode([]byte(want))
	if err != nil {
		return fmt.Errorf("expected body %.200q: %w", want, err)
	}
	if !matches(g, w) {
		return fmt.Errorf("body %.500s, want %.500s", got, want)
	}
	return nil
}

func decode(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the value")
	}
	return v, nil
}

// matches reports whether got is the value want, which may hold placeholders.
func matches(got, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		return ok && maps.EqualFunc(g, w, matches)
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !matches(g[i], w[i]) {
				return false
			}
		}
		return true
	case json.Number:
		g, ok := got.(json.Number)
		return ok && float(g) == float(w)
	case string:
		if w == "${ANY}" {
			return true
		}
		if w == "${T}" {
			g, ok := got.(json.Number)
			return ok && digits.MatchString(g.String()) && float(g) > 0
		}
	}
	return got == want
}

// float returns n as a double, an infinity if it is too large for one.
func float(n json.Number) float64 {
	f, _ := strconv.ParseFloat(n.String(), 64)
	return f
}

// Objects returns a Send that calls an object's handler in this process.
func Objects(object func(class, name string) http.Handler) func(Row) (*Answer, error) {
	return func(row Row) (*Answer, error) {
		r, err := row.request("http://do", "")
		if err != nil {
			return nil, err
		}
		path, query, _ := strings.Cut(row.Path, "?")
		r.URL.Opaque, r.URL.RawPath, r.URL.RawQuery = "", path, query
		if r.URL.Path, err = url.PathUnescape(path); err != nil {
			r.URL.Path = path
		}
		w := httptest.NewRecorder()
		object(row.Class, row.Do).ServeHTTP(w, r)
		return &Answer{w.Code, w.Header(), w.Body.Bytes()}, nil
	}
}

// Gateway returns a Send that goes through the server at base ("http://host:port",
// asked for anew each time): the object called name of a class is under
// /objects/BINDING/name. header is sent along with each request.
func Gateway(client *http.Client, base func() string, bindings map[string]string, header http.Header) func(Row) (*Answer, error) {
	return func(row Row) (*Answer, error) {
		r, err := row.request(base(), "/objects/"+bindings[row.Class]+"/"+url.PathEscape(row.Do))
		if err != nil {
			return nil, err
		}
		maps.Copy(r.Header, header)
		resp, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		return &Answer{resp.StatusCode, resp.Header, body}, nil
	}
}

// request returns the row's request, whose path goes out byte for byte: an opaque
// URL is not cleaned or escaped on the way.
func (row Row) request(base, prefix string) (*http.Request, error) {
	r, err := http.NewRequest(row.Method, base, strings.NewReader(row.ReqBody))
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(row.Path, "?")
	r.URL.Opaque, r.URL.RawQuery = prefix+path, query
	for name, value := range row.ReqHeaders {
		r.Header.Set(name, value)
	}
	return r, nil
}
