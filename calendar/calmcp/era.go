package calmcp

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// stateless is the first revision without sessions. Revisions are dates, so that they
// compare as text.
const stateless = "2026-07-28"

// primed is the first revision whose streams may begin with an event that is only a number.
const primed = "2025-11-25"

const (
	versionHeader   = "Mcp-Protocol-Version"
	sessionHeader   = "Mcp-Session-Id"
	lastEventHeader = "Last-Event-Id"
)

// envelope is what routing needs to know of a body.
type envelope struct {
	messages []message
	batch    bool
}

// message is a JSON-RPC message, as far as routing looks into it.
type message struct {
	RPC    string          `json:"jsonrpc"`
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Meta struct {
			Version string `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
	} `json:"params"`
}

// UnmarshalJSON is lenient about params: what is wrong with them the SDK says. Names count as
// they are written, as they do for the SDK: a "Method" is none.
func (m *message) UnmarshalJSON(data []byte) error {
	var outer map[string]json.RawMessage
	if err := json.Unmarshal(data, &outer); err != nil {
		return err
	}
	_ = json.Unmarshal(outer["jsonrpc"], &m.RPC) // if it is something else the SDK says so
	m.ID = outer["id"]
	if method := outer["method"]; len(method) > 0 {
		if err := json.Unmarshal(method, &m.Method); err != nil {
			return err
		}
	}
	if params := outer["params"]; len(params) > 0 {
		_ = json.Unmarshal(params, &m.Params)
	}
	return nil
}

// isCall says whether the message wants an answer.
func (m *message) isCall() bool {
	return m.Method != "" && len(m.ID) > 0 && string(m.ID) != "null"
}

// maxBatch bounds the messages of one request, which counts once where requests are counted.
const maxBatch = 100

// openEnvelope looks into a body. One that is no JSON-RPC has no messages.
func openEnvelope(body []byte) (e envelope) {
	if strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n"), "[") {
		e.batch = true
		_ = json.Unmarshal(body, &e.messages)
		return e
	}
	var m message
	if json.Unmarshal(body, &m) == nil && string(bytes.TrimSpace(body)) != "null" {
		e.messages = []message{m}
	}
	return e
}

// calls returns the ids of messages that want an answer.
func (e *envelope) calls() (ids []json.RawMessage) {
	for i := range e.messages {
		if e.messages[i].isCall() {
			ids = append(ids, e.messages[i].ID)
		}
	}
	return ids
}

// idsKept says whether all ids come back as they were sent: the SDK makes whole numbers of
// 64 bits of them, so that an answer to another number would be nobody's.
func (e *envelope) idsKept() bool {
	for _, id := range e.calls() {
		if n, err := strconv.ParseFloat(string(id), 64); err == nil && (n != math.Trunc(n) || math.Abs(n) > 1<<53) {
			return false
		}
	}
	return true
}

// idsDiffer says whether no two calls have the same id: of those the SDK answers one.
func (e *envelope) idsDiffer() bool {
	seen := make(map[any]bool)
	for _, id := range e.calls() {
		var v any
		if json.Unmarshal(id, &v) != nil {
			continue
		}
		switch v.(type) {
		case string, float64:
			if seen[v] {
				return false
			}
			seen[v] = true
		}
	}
	return true
}

// is says whether the body is one message of the given method.
func (e *envelope) is(method string) bool {
	return len(e.messages) == 1 && !e.batch && e.messages[0].Method == method
}

// isStateless says whether a request belongs to the revisions without sessions, by its
// version header and its body: one of the methods that only they have, or the version in _meta.
func (e *envelope) isStateless(version string) bool {
	if version >= stateless {
		return true
	}
	for i := range e.messages {
		m := &e.messages[i]
		if m.Params.Meta.Version != "" || m.Method == "server/discover" || m.Method == "subscriptions/listen" {
			return true
		}
	}
	return false
}
