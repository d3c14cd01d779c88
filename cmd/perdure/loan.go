package main

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/worker"
)

// loan is our single user's Nextcloud in the hands of the process that serves, which
// forgets it when the connection ends.
type loan struct {
	end  context.CancelFunc
	over chan struct{} // closed when it has ended
}

// lendLocked sees to it that whoever serves has our Nextcloud, if there is one. An error
// that is errNobody says that nobody serves.
func (s *seat) lendLocked(ctx context.Context) error {
	c := s.cfg.nextcloud
	if c == (accounts.Credential{}) {
		return nil
	}
	if s.loan != nil {
		select {
		case <-s.loan.over:
		default:
			return nil
		}
	}
	conn, err := dialSocket(ctx, s.at.dir)
	if err != nil {
		return err
	}
	life, end := context.WithCancel(context.Background()) // longer than the request that needs it
	stop := context.AfterFunc(ctx, end)
	body, err := overSocket(s.at.dir, conn).open(life, http.MethodPut, "/users/"+accounts.Me+"/loan",
		worker.ControlCredential{Server: c.Server, Username: c.Username, Password: c.Password})
	if !stop() {
		err = errors.Join(err, context.Cause(ctx))
	}
	if err != nil {
		end()
		var why *controlError
		if errors.As(err, &why) && why.status != http.StatusServiceUnavailable || ctx.Err() != nil {
			return err
		}
		return errNobody // it has ended, or is ending
	}
	l := &loan{end, make(chan struct{})}
	s.loan = l
	s.wg.Go(func() {
		defer close(l.over)
		defer body.Close()
		io.Copy(io.Discard, body)
	})
	return nil
}
