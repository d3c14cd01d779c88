package calmcp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/durable"
)

// The sentences of mcp-nextcloud-calendar, by which prompts and clients tell errors apart.
const (
	sentenceForbidden  = "You do not have permission to perform this action."
	sentenceNotFound   = "The requested calendar was not found."
	sentenceLocked     = "The calendar is currently locked. Please try again later."
	sentenceInvalid    = "Invalid request data. Please check your input and try again."
	sentenceUnexpected = "An unexpected error occurred. Please try again later."
)

// explain is the one place where an error becomes words for a client: a sentence for its
// class, and what was wrong with what to send instead. Of an error that is none of the
// client's business the inner text stays here; known is then false.
func explain(err error) (sentence, detail string, known bool) {
	var p *calendar.Problem
	switch {
	case errors.As(err, &p):
		detail = p.Error()
		if p.Retry > 0 {
			detail += fmt.Sprintf(" Wait %d s before that.", int((p.Retry+time.Second-1)/time.Second))
		}
		return sentenceOf(p), detail, true
	case errors.Is(err, context.Canceled):
		return sentenceUnexpected, "The request was cancelled.", true
	case errors.Is(err, context.DeadlineExceeded):
		return sentenceUnexpected, "The request took too long.", true
	case errors.Is(err, calendar.ErrClosed), errors.Is(err, durable.ErrShutdown), errors.Is(err, durable.ErrClosed):
		return sentenceUnexpected, "The server is shutting down; connect again in a moment.", true
	case errors.Is(err, durable.ErrOverloaded):
		return sentenceUnexpected, "The server has too much to do; send the request again in a few seconds.", true
	}
	return sentenceUnexpected, "Nothing that you sent was wrong; the server's log has the cause.", false
}

func sentenceOf(p *calendar.Problem) string {
	switch p.Kind {
	case calendar.ErrForbidden, calendar.ErrUnauthorized:
		return sentenceForbidden
	case calendar.ErrNotFound:
		return sentenceNotFound
	case calendar.ErrLocked:
		return sentenceLocked
	case calendar.ErrInvalid, calendar.ErrConflict:
		return sentenceInvalid
	}
	return sentenceUnexpected
}

// failure returns what a client is told of an error in an operation.
func (s *Surface) failure(ctx context.Context, c Caller, op string, err error) string {
	sentence, detail, known := explain(err)
	if !known {
		s.log.ErrorContext(ctx, "request failed", "op", op, "user", c.User, "err", err)
	}
	var p *calendar.Problem
	if errors.As(err, &p) && p.Err != nil && (p.Kind == calendar.ErrUnavailable || p.Kind == calendar.ErrUncertain) {
		s.log.WarnContext(ctx, "the calendar server does not answer as it should", "op", op, "user", c.User, "err", p.Err)
	}
	return plain("Failed to " + op + ": " + strings.TrimSpace(sentence+" "+detail))
}

// toolError is the result of a tool that failed.
func (s *Surface) toolError(ctx context.Context, c Caller, op string, err error) *mcp.CallToolResult {
	return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: s.failure(ctx, c, op, err)}}}
}

// withWarnings adds to an invalid request what was ignored of it: that may be what is missing.
func withWarnings(err error, warnings []string) error {
	var p *calendar.Problem
	if len(warnings) == 0 || !errors.As(err, &p) || p.Kind != calendar.ErrInvalid {
		return err
	}
	more := *p
	more.Text += " Note: " + strings.Join(warnings, "; ") + "."
	return &more
}

// protocolError is the error of a request that is no tool call.
func (s *Surface) protocolError(ctx context.Context, c Caller, op string, err error) error {
	code := int64(jsonrpc.CodeInternalError)
	var p *calendar.Problem
	if errors.As(err, &p) && (p.Kind == calendar.ErrInvalid || p.Kind == calendar.ErrNotFound) {
		code = jsonrpc.CodeInvalidParams
	}
	return &jsonrpc.Error{Code: code, Message: s.failure(ctx, c, op, err)}
}

// notFound is the answer to the URI of nothing (SEP-2164). The SDK's own one is no JSON
// for some URIs.
func notFound(uri string) error {
	data, err := marshal(map[string]string{"uri": clip(uri, 200)})
	if err != nil {
		data = nil
	}
	return &jsonrpc.Error{Code: mcp.CodeResourceNotFound, Message: "Resource not found", Data: data}
}

func isNotFound(err error) bool { return errors.Is(err, calendar.ErrNotFound) }

var errNoCalendar = &calendar.Problem{Kind: calendar.ErrNotFound, Text: "There is no such calendar."}

var errNotAsked = &calendar.Problem{Kind: calendar.ErrUnavailable, Text: "The calendar server does not answer, and its last list has no such calendar. Try again later."}

// invalid says what is wrong with a parameter and what to send.
func invalid(field, format string, args ...any) error {
	return &calendar.Problem{Kind: calendar.ErrInvalid, Field: field, Text: fmt.Sprintf(format, args...)}
}
