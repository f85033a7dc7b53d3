package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// serve is the process of the embedded server, for one scenario. It ends when in does.
func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	srv, err := estest.Start(estest.WithHTTPAddr(""))
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(message{URL: srv.ConnectionString()}); err != nil {
		srv.Close()
		return err
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, in)
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return srv.Close()
}
