package main

import (
	"context"
	"encoding/json"
	"io"
	"runtime/pprof"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// serve is the process of the embedded server, for one scenario. It ends when in does.
func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := warmMemory(); err != nil {
		return err
	}
	profile, err := profileFile()
	if err != nil {
		return err
	}
	if profile != nil {
		defer profile.Close()
		if err := pprof.StartCPUProfile(profile); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	srv, err := estest.Start(estest.WithHTTPAddr(""))
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(note{URL: srv.ConnectionString()}); err != nil {
		srv.Close()
		return err
	}
	untilEnd(ctx, in)
	return srv.Close()
}

// untilEnd waits for the end of in, which is the leader's wish, or of ctx.
func untilEnd(ctx context.Context, in io.Reader) {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
