package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/perdure/perdure/calendar/worker"
	"github.com/perdure/perdure/durable"
)

// host is what serves while this process holds the data.
type host struct {
	rt      *durable.Runtime
	worker  *worker.Worker
	control *controlServer
	handler http.Handler // that of the control socket
	cutOff  string       // what was not finished in time when it ended
}

// host starts one on a runtime, which is closed if it can't. release, if not nil, is called
// when a server asks for the data; it must not wait.
func (cfg *config) host(ctx context.Context, rt *durable.Runtime, at place, log *slog.Logger, release func()) (_ *host, err error) {
	key, err := cfg.key(at)
	if err != nil {
		return nil, errors.Join(err, rt.Close())
	}
	h := &host{rt: rt, worker: cfg.worker(rt, key, log)}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.worker.Close(), rt.Close())
		}
	}()
	if missing := h.worker.MissingClass(); missing != "" {
		log.Warn(fmt.Sprintf("MCP and /api/ are not served: no migration has made the class %s; add one to the configuration, "+
			"with a new tag and new_classes = [%q], and start perdure serve", missing, missing), "configuration", cfg.source)
	}
	if cfg.dav {
		if err := h.worker.SeedMe(ctx); err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", h.worker.Control())
	mux.HandleFunc("POST /release", func(w http.ResponseWriter, r *http.Request) {
		if release == nil {
			w.WriteHeader(http.StatusConflict)
			return
		}
		release()
		w.WriteHeader(http.StatusAccepted)
	})
	h.handler = mux
	if h.control, err = serveControl(at, mux, log); err != nil {
		return nil, err
	}
	return h, nil
}

// lastWords is ctx, with at least a second left: what was cut off at its end says so to the
// nodes and clients that wait for it, which else could not know whether it ran.
func lastWords(ctx context.Context) (context.Context, context.CancelFunc) {
	if d, ok := ctx.Deadline(); ctx.Err() == nil && (!ok || time.Until(d) > time.Second) {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), time.Second)
}

// close ends it in good order: what runs is finished, as long as ctx lives, and then the
// data is free for another process. between is called when nothing is running any more.
func (h *host) close(ctx context.Context, log *slog.Logger, between func(ctx context.Context)) error {
	broken := h.rt.Err()
	if h.worker.Drain(ctx) != nil {
		h.cutOff = "1 request"
		if n := h.worker.Running(); n > 1 {
			h.cutOff = fmt.Sprintf("%d requests", n)
		}
	}
	err := h.control.close()
	serr := h.rt.Shutdown(ctx)
	if errors.Is(serr, context.DeadlineExceeded) {
		h.cutOff, serr = cmp.Or(h.cutOff, "objects' events"), nil
	}
	if h.cutOff != "" {
		log.Warn("requests that were still running have been cut off")
	}
	if between != nil {
		ending, cancel := lastWords(ctx)
		between(ending)
		cancel()
	}
	if broken != nil {
		serr = broken
	}
	return errors.Join(err, serr, h.worker.Close())
}
