// Package wire is what the HTTP dialogues of SessionStore and CalendarCache have
// in common: how the runtime these dialogues come from reads a request, and how
// it answers. Their rules differ from net/http's in places, and clients see it.
package wire

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/perdure/perdure/calendar/internal/jsonvalue"
)

// MaxBody is the largest body that is looked at, in bytes. What is stored is
// limited to far less, but white space and members that do not count are free up to here.
const MaxBody = 1 << 20

// Path returns the path of r as it was sent, percent escapes included.
func Path(r *http.Request) string {
	if r.URL.RawPath != "" {
		return r.URL.RawPath
	}
	return r.URL.EscapedPath()
}

// Param returns the first query parameter called name, "" if there is none.
//
// It reads the query as browsers do (WHATWG URL, application/x-www-form-urlencoded):
// net/url drops a parameter that holds a semicolon or a bad escape, this keeps
// them literally. Bytes that are not UTF-8 stay as they are, so that different
// escapes remain different values.
func Param(r *http.Request, name string) string {
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if pair != "" && unescape(key) == name {
			return unescape(value)
		}
	}
	return ""
}

func unescape(s string) string {
	s = strings.ReplaceAll(s, "+", " ")
	if text, err := url.PathUnescape(s); err == nil {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				out.WriteString(c)
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// ReadJSON returns the JSON value that the body of r is, whatever its
// Content-Type. Its errors are [*Problem]s: 413 for a body over [MaxBody], 400 for
// anything else.
func ReadJSON(r *http.Request) (jsonvalue.Value, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, BadRequest("Unreadable body")
	}
	if len(body) > MaxBody {
		return nil, &Problem{Status: http.StatusRequestEntityTooLarge, Text: "Request body too large", Limit: MaxBody, Size: int64(len(body))}
	}
	v, err := jsonvalue.Parse(body)
	if err == jsonvalue.ErrTooDeep {
		return nil, BadRequest(fmt.Sprintf("JSON nested too deeply, limit %d", jsonvalue.MaxDepth))
	}
	if err != nil {
		return nil, BadRequest("Invalid JSON")
	}
	return v, nil
}
