package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// plots draws bars of the events a second and of the client's CPU time: an SVG file for each figure and kind of work.
func (r *report) plots() map[string][]byte {
	files := make(map[string][]byte)
	if grown := series(r.Scenarios); len(grown) > 0 {
		files["growth-cpu.svg"] = plot("CPU µs of the client, an event", grown, figures[2])
		files["growth-heap.svg"] = plot("peak of the client's heap, in MB", grown, figures[9])
		return files
	}
	groups := make(map[string][]*outcome)
	for _, o := range r.Scenarios {
		groups[o.Job.Work] = append(groups[o.Job.Work], o)
	}
	for work, outcomes := range groups {
		files[work+"-rate.svg"] = plot(work+": events a second (more is better)", outcomes, figures[0])
		files[work+"-cpu.svg"] = plot(work+": CPU µs of the client, an event (less is better)", outcomes, figures[2])
	}
	return files
}

// Sizes of a plot, in pixels.
const (
	plotWidth = 760
	labelEnd  = 150 // right end of the names, left end of the bars
	barRoom   = 490
	barHeight = 16
	rowHeight = 20
)

var colours = map[string]string{
	esClient: "#2a6fdb", esSource: "#6a9be8", gesClient: "#d9822b", rawFrames: "#8a8a8a",
	ownPubSub: "#2a6fdb", ownCatchUp: "#6a9be8", ownSerial: "#6a9be8", ownLanes: "#2a6fdb",
	ownDefault: "#174a9c", bareTCP: "#8a8a8a", goChannel: "#b8b8b8", jetStream: "#3f9d6b", redisStreams: "#b5473c",
}

func colourOf(name string) string {
	if c, ok := colours[name]; ok {
		return c
	}
	return colours[esClient] // a number of a series
}

// plot draws the bars of each scenario to a scale of its own, with the range of the rounds as a line.
func plot(title string, outcomes []*outcome, f figure) []byte {
	var b bytes.Buffer
	y := 30
	for _, o := range outcomes {
		y = plotScenario(&b, y, o, f)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "+
		"font-family=\"sans-serif\" font-size=\"12\">\n", plotWidth, y+10)
	fmt.Fprintf(&out, "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n")
	fmt.Fprintf(&out, "<text x=\"10\" y=\"20\" font-size=\"15\">%s</text>\n", escape(title))
	out.Write(b.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// plotScenario draws from y on and returns its lower end.
func plotScenario(b *bytes.Buffer, y int, o *outcome, f figure) int {
	y += rowHeight
	fmt.Fprintf(b, "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s</text>\n", y, escape(o.Name))
	y += 6
	most := 0.0
	for i := range o.Contenders {
		s, _ := o.Contenders[i].over(f)
		most = max(most, s.Max)
	}
	for i := range o.Contenders {
		m := &o.Contenders[i]
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
			labelEnd-6, y+barHeight-4, escape(m.Name))
		s, ok := m.over(f)
		if !ok || most == 0 {
			fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\">failed</text>\n", labelEnd, y+barHeight-4)
			y += rowHeight
			continue
		}
		x := func(v float64) float64 { return labelEnd + v/most*barRoom }
		fmt.Fprintf(b, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n",
			labelEnd, y, x(s.Median)-labelEnd, barHeight, colourOf(m.Name))
		fmt.Fprintf(b, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"black\"/>\n",
			x(s.Min), x(s.Max), y+barHeight/2, y+barHeight/2)
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\">%s</text>\n", x(s.Max)+6, y+barHeight-4, number(s.Median, true))
		y += rowHeight
	}
	return y
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // writes to a buffer do not fail
	return b.String()
}
