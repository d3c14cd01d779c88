package calmcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// problem is why a request is not passed on to the SDK: an HTTP status, and the JSON-RPC
// error that clients show. Every answer of ours that is no result comes from this table.
type problem struct {
	status int
	code   int
	text   string
}

var (
	// The same for an unknown, an expired and a foreign session: nobody learns which ids exist.
	problemNoSession = &problem{http.StatusNotFound, -32001, "Session not found: begin a new one, with initialize and no Mcp-Session-Id, or with GET /sse"}

	problemNoUser    = &problem{http.StatusUnauthorized, -32000, "Unauthorized"}
	problemSessionID = &problem{http.StatusBadRequest, -32000, "Bad Request: the header Mcp-Session-Id is needed; only initialize, sent alone, begins a session"}
	problemQuery     = &problem{http.StatusBadRequest, -32000, "Bad Request: the query parameter sessionId is needed; GET /sse begins a session and names it"}
	problemMethod    = &problem{http.StatusMethodNotAllowed, -32000, "Method not allowed"}
	problemType      = &problem{http.StatusUnsupportedMediaType, -32000, "Content-Type must be application/json"}
	problemBatch     = &problem{http.StatusBadRequest, -32600, fmt.Sprintf("A batch has at most %d messages: send the rest in another", maxBatch)}
	problemID        = &problem{http.StatusBadRequest, -32600, "An id must be a text, or a whole number of at most 2^53"}
	problemTwice     = &problem{http.StatusBadRequest, -32600, "Two calls of a batch have the same id: give each its own"}
	problemParse     = &problem{http.StatusBadRequest, -32700, "Parse error: the body is not one JSON value"}
	problemMessage   = &problem{http.StatusBadRequest, -32600, "Invalid Request: the body is no JSON-RPC message, and no batch of some"}
	problemBody      = &problem{http.StatusBadRequest, -32700, "The body did not arrive whole"}
	problemClosed    = &problem{http.StatusServiceUnavailable, -32000, "The server is shutting down"}
	problemInternal  = &problem{http.StatusInternalServerError, -32603, "Internal error"}
)

// noMessage says what is wrong with a body without messages.
func noMessage(body []byte) *problem {
	if json.Valid(body) {
		return problemMessage
	}
	return problemParse
}

func problemTooLarge(limit int64) *problem {
	return &problem{http.StatusRequestEntityTooLarge, -32000, fmt.Sprintf("The body is longer than %d bytes", limit)}
}

func problemBusy(limit int) *problem {
	return &problem{http.StatusTooManyRequests, -32000, fmt.Sprintf("More than %d requests and streams at once: wait until one ends", limit)}
}

func (p *problem) Error() string { return p.text }

func (p *problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.status == http.StatusServiceUnavailable || p.status == http.StatusTooManyRequests {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(p.status)
	body, _ := json.Marshal(map[string]any{ // numbers and strings
		"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": p.code, "message": p.text},
	})
	w.Write(body)
}

// errSlow ends a stream whose client does not read.
var errSlow = errors.New("calmcp: the client does not read its stream")
