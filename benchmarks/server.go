package main

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// groupsVariable has the job whose groups a server has from the beginning, as JSON.
const groupsVariable = "WATERMILL_BENCHMARKS_GROUPS"

// serve is the process of the embedded server, for one scenario. It ends when in does.
func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := warmMemory(); err != nil {
		return err
	}
	stopProfile, err := startProfile()
	if err != nil {
		return err
	}
	defer stopProfile()
	srv, err := estest.Start(estest.WithHTTPAddr(""))
	if err != nil {
		return err
	}
	err = withGroups(ctx, srv)
	if err == nil {
		err = json.NewEncoder(out).Encode(note{URL: srv.ConnectionString()})
	}
	if err != nil {
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

// withGroups gives a server the groups of a job, one for each stream. To create them one by one takes a server memory
// that is quadratic in their number: each creation writes down all of them.
func withGroups(ctx context.Context, srv *estest.Server) error {
	value := os.Getenv(groupsVariable)
	if value == "" {
		return nil
	}
	var j job
	if err := json.Unmarshal([]byte(value), &j); err != nil {
		return err
	}
	c, err := esclient.Open(srv.ConnectionString())
	if err != nil {
		return err
	}
	defer c.Close()
	// With the limited retries of esclient's own default, a Subscriber takes few messages ahead.
	if err := c.CreatePersistent(ctx, j.Stream, j.Group, eventstore.DefaultGroupSettings()); err != nil {
		return err
	}
	const stream = "$persistentSubscriptionConfig"
	written, err := srv.Read(stream, 0, 1)
	if err != nil {
		return err
	}
	var config struct {
		Version   string           `json:"version"`
		Updated   string           `json:"updated"`
		UpdatedBy string           `json:"updatedBy"`
		Entries   []map[string]any `json:"entries"`
	}
	if err := json.Unmarshal(written[0].Data, &config); err != nil {
		return err
	}
	model := config.Entries[0]
	config.Entries = nil
	for _, name := range j.streams() {
		entry := maps.Clone(model)
		entry["stream"] = name
		config.Entries = append(config.Entries, entry)
	}
	event := estest.Event{Type: written[0].Type, JSON: true}
	if event.Data, err = json.Marshal(config); err != nil {
		return err
	}
	if _, err := srv.Append(stream, event); err != nil {
		return err
	}
	return srv.Restart()
}
