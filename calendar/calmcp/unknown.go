package calmcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The SDK's handlers for the older eras answer a method that they don't know with 400 and a
// line of text, and a whole batch so for one such message. JSON-RPC has an error for it (-32601),
// and notifications of an unknown method are to be ignored. So they do not reach the SDK:
//
//  1. A message alone is answered by its session, once it is clear that it is the user's.
//  2. In a batch a call is renamed to unknownMethod, which the SDK's side refuses beside its
//     answers to the others, and a notification is left out.

// methods are those that servers have in the revisions with sessions.
var methods = map[string]bool{
	"initialize": true, "ping": true, "completion/complete": true, "logging/setLevel": true,
	"prompts/get": true, "prompts/list": true,
	"resources/list": true, "resources/read": true, "resources/subscribe": true, "resources/templates/list": true, "resources/unsubscribe": true,
	"tools/call": true, "tools/list": true,
	"notifications/cancelled": true, "notifications/initialized": true, "notifications/progress": true, "notifications/roots/list_changed": true,
}

// isUnknown says whether the message is a call or notification of no method of a server's. What
// is no JSON-RPC at all the SDK may say.
func (m message) isUnknown() bool {
	return m.RPC == "2.0" && m.Method != "" && !methods[m.Method] && (m.isCall() || len(m.ID) == 0)
}

// isUnknown says whether all of a body is unknown, and no more than one answer is due.
func (e *envelope) isUnknown() bool {
	for i := range e.messages {
		if m := &e.messages[i]; !m.isUnknown() || e.batch && m.isCall() {
			return false
		}
	}
	return len(e.messages) > 0
}

// unknownMethod is one that the SDK's side of a session knows, to refuse it.
const unknownMethod = "unknown"

// renamed returns a batch for the SDK, without unknown methods.
func (e *envelope) renamed(body []byte) []byte {
	var all []json.RawMessage
	if !e.batch || !slices.ContainsFunc(e.messages, message.isUnknown) || json.Unmarshal(body, &all) != nil || len(all) != len(e.messages) {
		return body
	}
	kept := all[:0:0]
	for i, m := range e.messages {
		switch {
		case !m.isUnknown():
			kept = append(kept, all[i])
		case m.isCall():
			call, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": m.ID, "method": unknownMethod}) // the id was read from JSON
			kept = append(kept, call)
		}
	}
	body, _ = json.Marshal(kept)
	return body
}

// refuseUnknown has a server refuse unknownMethod. The text is the SDK's.
func refuseUnknown(server *mcp.Server) error {
	return mcp.AddReceivingCustomMethod(server, unknownMethod, func(context.Context, *mcp.ServerSession, *mcp.ParamsBase) (*mcp.ResultBase, error) {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound}
	})
}

// serveUnknown answers a body of which the SDK sees nothing: one that is all unknown, or
// holds no message.
func (s *mcpSession) serveUnknown(h *Handler, w http.ResponseWriter, r *http.Request, user string) error {
	l := s.live
	isSSE := s.sse && l != nil && l.caller.User == user
	if !isSSE && !s.owned(h, user) {
		return problemNoSession
	}
	body, err := readAll(r)
	if err != nil {
		return err
	}
	e := openEnvelope(body)
	if len(e.messages) == 0 {
		return noMessage(body)
	}
	if m := &e.messages[0]; m.isCall() {
		answer := errorMessage(m.ID, jsonrpc.CodeMethodNotFound, "Method not found: "+plain(clip(m.Method, 100)))
		if !isSSE {
			w.Header().Set("Content-Type", jsonType)
			w.Write(answer)
			return nil
		}
		err := s.st.Await(r.Context(), func(ctx context.Context) error { l.sendSSE(ctx, answer); return nil })
		if err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// sendSSE sends a message of ours on the stream of HTTP+SSE: one write, as the SDK's are.
func (l *live) sendSSE(ctx context.Context, message []byte) {
	select {
	case <-l.ready:
		out := l.sse.Response
		fmt.Fprintf(out, "event: message\ndata: %s\n\n", message)
		http.NewResponseController(out).Flush()
	case <-ctx.Done():
	case <-l.life.Done():
	}
}
