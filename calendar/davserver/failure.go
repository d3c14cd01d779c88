package davserver

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/perdure/perdure/durable"
)

// failure is an error that the client is told: a status and, if there is one, the
// precondition that did not hold (RFC 4918, section 16).
type failure struct {
	status    int
	condition xml.Name // zero: none
	inner     string   // XML inside the condition
	text      string   // for people
}

func (f *failure) Error() string {
	if f.text != "" {
		return f.text
	}
	return http.StatusText(f.status) + " " + f.condition.Local
}

// refuse is 403 with a precondition.
func refuse(condition xml.Name, text string) *failure {
	return &failure{status: http.StatusForbidden, condition: condition, text: text}
}

func status(code int, text string) *failure { return &failure{status: code, text: text} }

func notAllowed() *failure { return &failure{status: http.StatusMethodNotAllowed} }

// failureOf is the one place that turns an error into what the client is told; nil
// if the error is ours and no business of the client's.
func failureOf(err error) *failure {
	var f *failure
	var body *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, errNoCalendar), errors.Is(err, errNoObject):
		return status(http.StatusNotFound, "There is nothing here.")
	case errors.Is(err, errCondition):
		return status(http.StatusPreconditionFailed, "The resource has changed, or exists already.")
	case errors.Is(err, errExists):
		return &failure{status: http.StatusMethodNotAllowed, condition: dav("resource-must-be-null"), text: "There is something here already."}
	case errors.Is(err, errFull):
		return &failure{status: http.StatusInsufficientStorage, condition: dav("quota-not-exceeded"), text: "There are too many calendars."}
	case errors.Is(err, errProperties):
		return &failure{status: http.StatusInsufficientStorage, condition: dav("quota-not-exceeded"), text: "There are too many properties, or they are too large."}
	case errors.Is(err, errSyncToken):
		return refuse(dav("valid-sync-token"), "The sync token is unknown or too old.")
	case errors.Is(err, errXMLSyntax), errors.Is(err, errXMLDoctype), errors.Is(err, errXMLTooLarge):
		return status(http.StatusBadRequest, "The XML cannot be used: "+err.Error()+".")
	case errors.As(err, &body):
		return status(http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than %d bytes.", body.Limit))
	case errors.Is(err, durable.ErrQuotaExceeded):
		return &failure{status: http.StatusInsufficientStorage, condition: dav("quota-not-exceeded"), text: "The storage is full."}
	case errors.Is(err, durable.ErrOverloaded), errors.Is(err, durable.ErrShutdown), errors.Is(err, durable.ErrClosed):
		return status(http.StatusServiceUnavailable, "The server is busy.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status(http.StatusServiceUnavailable, "The request was given up.")
	}
	return nil
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	if f == nil {
		s.log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("method", r.Method),
			slog.String("path", r.URL.EscapedPath()), slog.Any("error", err))
		f = status(http.StatusInternalServerError, "")
	}
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if f.status == http.StatusMethodNotAllowed && w.Header().Get("Allow") == "" {
		t, _ := s.parsePath(r.URL.EscapedPath())
		w.Header().Set("Allow", allow(t.kind))
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	b.WriteString("<D:error" + declarations + ">")
	f.writeCondition(&b)
	if f.text != "" {
		b.WriteString("<D:responsedescription>")
		escape(&b, f.text)
		b.WriteString("</D:responsedescription>")
	}
	b.WriteString("</D:error>\n")
	writeXML(w, r, f.status, b.Bytes())
}

func (f *failure) writeCondition(b *bytes.Buffer) {
	if f.condition.Local == "" {
		return
	}
	if f.inner == "" {
		emptyTag(b, f.condition)
		return
	}
	openTag(b, f.condition)
	b.WriteString(f.inner)
	closeTag(b, f.condition)
}
