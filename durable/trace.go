package durable

import (
	"context"
	"net/http"
)

// Trace is a W3C trace context: what the headers traceparent and tracestate
// carry. Of a caller's context it is the one value that reaches an object, on
// every way there; [State.HTTPClient] passes it on.
type Trace struct{ Parent, State string }

type traceKey struct{}

// ContextWithTrace returns a context that carries t.
func ContextWithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceFromContext returns the trace that ctx carries, zero if none.
func TraceFromContext(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}

// withTraceOf adds the trace of a request's headers, unless ctx has one.
func withTraceOf(ctx context.Context, h http.Header) context.Context {
	parent := h["Traceparent"]
	if len(parent) == 0 || TraceFromContext(ctx).Parent != "" {
		return ctx
	}
	return ContextWithTrace(ctx, Trace{Parent: parent[0], State: h.Get("Tracestate")})
}
