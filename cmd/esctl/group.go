package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// groupInfoJSON is all that a server tells of a group.
type groupInfoJSON struct {
	groupJSON
	Parked      int64            `json:"parked"`
	Outstanding int              `json:"outstanding"`
	Waiting     int64            `json:"waiting"` // in the server's buffers
	Settings    settingsJSON     `json:"settings"`
	Connections []subscriberJSON `json:"connections"`
}

// settingsJSON are the settings of a group, named as the flags of group create. Durations are in milliseconds.
type settingsJSON struct {
	ResolveLinks       bool   `json:"resolve"`
	StartFrom          int64  `json:"start_from"`
	MessageTimeout     int64  `json:"message_timeout_ms"`
	RecordStatistics   bool   `json:"statistics"`
	LiveBufferSize     int    `json:"live_buffer"`
	ReadBatchSize      int    `json:"read_batch"`
	BufferSize         int    `json:"buffer"`
	MaxRetryCount      int    `json:"max_retries"`
	CheckpointAfter    int64  `json:"checkpoint_after_ms"`
	CheckpointMinCount int    `json:"checkpoint_min"`
	CheckpointMaxCount int    `json:"checkpoint_max"`
	MaxSubscribers     int    `json:"max_subscribers"`
	Strategy           string `json:"strategy"`
}

type subscriberJSON struct {
	From     string `json:"from"`
	User     string `json:"user"`
	Name     string `json:"name,omitempty"`
	InFlight int    `json:"in_flight"`
	Slots    int    `json:"slots"`
}

func newGroup(c *cli) *cobra.Command {
	return family("group", "Show or change a persistent subscription group",
		newGroupShow(c), newGroupCreate(c), newGroupUpdate(c), newGroupDelete(c),
	)
}

func newGroupShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "show STREAM GROUP", Short: "Print the settings and the subscribers of a group", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return c.groupShow(cmd.Context(), args[0], args[1]) },
	}
}

func (c *cli) groupShow(ctx context.Context, stream, group string) error {
	return c.withAdmin(ctx, func(ctx context.Context, _ *esclient.Client, admin *esadmin.Client) error {
		info, err := admin.Group(ctx, stream, group)
		if err != nil {
			return err
		}
		j := groupInfoOf(&info)
		if c.json {
			return c.printJSON(j)
		}
		return c.printGroup(&j)
	})
}

func groupInfoOf(info *esadmin.GroupInfo) groupInfoJSON {
	j := groupInfoJSON{
		groupJSON: groupOf(&info.GroupSummary), Parked: info.Parked, Outstanding: info.Outstanding,
		Waiting:  int64(info.ReadBuffer) + info.LiveBuffer + int64(info.RetryBuffer),
		Settings: settingsOf(&info.Settings), Connections: []subscriberJSON{},
	}
	for _, connection := range info.Connections {
		j.Connections = append(j.Connections, subscriberJSON{
			From: connection.From, User: connection.Username, Name: connection.ConnectionName,
			InFlight: connection.InFlight, Slots: connection.AvailableSlots,
		})
	}
	return j
}

func settingsOf(s *esclient.PersistentSettings) settingsJSON {
	return settingsJSON{
		ResolveLinks: s.ResolveLinks, StartFrom: s.StartFrom, MessageTimeout: s.MessageTimeout.Milliseconds(),
		RecordStatistics: s.RecordStatistics, LiveBufferSize: s.LiveBufferSize, ReadBatchSize: s.ReadBatchSize,
		BufferSize: s.BufferSize, MaxRetryCount: s.MaxRetryCount, CheckpointAfter: s.CheckpointAfter.Milliseconds(),
		CheckpointMinCount: s.CheckpointMinCount, CheckpointMaxCount: s.CheckpointMaxCount,
		MaxSubscribers: s.MaxSubscriberCount, Strategy: string(s.Strategy),
	}
}

func (c *cli) printGroup(j *groupInfoJSON) error {
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%-20s %s\n", name, printable(fmt.Sprint(value))) }
	line("stream", j.Stream)
	line("group", j.Group)
	line("status", j.Status)
	line("checkpoint", orUnknown(j.LastCheckpoint))
	line("last known event", orUnknown(j.LastKnown))
	line("in flight", j.InFlight)
	line("outstanding", orUnknown(int64(j.Outstanding)))
	line("waiting", j.Waiting)
	line("parked", orUnknown(j.Parked))
	line("processed", j.Processed)
	s := &j.Settings
	line("--resolve", s.ResolveLinks)
	line("--start-from", s.StartFrom)
	line("--message-timeout", time.Duration(s.MessageTimeout)*time.Millisecond)
	line("--max-retries", s.MaxRetryCount)
	line("--buffer", s.BufferSize)
	line("--live-buffer", s.LiveBufferSize)
	line("--read-batch", s.ReadBatchSize)
	line("--checkpoint-after", time.Duration(s.CheckpointAfter)*time.Millisecond)
	line("--checkpoint-min", s.CheckpointMinCount)
	line("--checkpoint-max", s.CheckpointMaxCount)
	line("--max-subscribers", s.MaxSubscribers)
	line("--strategy", s.Strategy)
	line("--statistics", s.RecordStatistics)
	for _, sub := range j.Connections {
		line("subscriber", fmt.Sprintf("%s %s %s, in flight %d of %d",
			sub.From, sub.User, sub.Name, sub.InFlight, sub.InFlight+sub.Slots))
	}
	_, err := c.out.WriteString(b.String())
	return err
}
