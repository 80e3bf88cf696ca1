package main

import (
	"bytes"
	"fmt"
	"html"
	"time"
)

// The measures of the picture, in pixels.
const (
	svgWidth, svgHeight      = 1000, 420
	svgLeft, svgRight        = 46, 20
	svgTop, svgBottom        = 46, 34
	plotWidth, plotHeight    = svgWidth - svgLeft - svgRight, svgHeight - svgTop - svgBottom
	svgColumns               = plotWidth // one instant for each pixel
	svgInk, svgGrid, svgOver = "#222", "#ddd", "#c00"
	svgFont                  = "font-family=\"system-ui, sans-serif\" font-size=\"12\""
	svgLineOfEvents          = 18
)

var fillOf = [5]string{"#4e79a7", "#59a14f", "#b07aa1", "#76b7b2", "#f28e2b"}

// drawSVG returns the chart as a picture: the sessions of the processes, stacked, the limit,
// and the events with their numbers, which are listed below.
func drawSVG(h *history, events []*event) []byte {
	var b bytes.Buffer
	top := max(limit, h.most) + 2
	x := func(column int) float64 { return svgLeft + float64(column)*plotWidth/svgColumns }
	y := func(n int) float64 { return svgTop + plotHeight*(1-float64(n)/float64(top)) }
	at := func(d time.Duration) float64 { return svgLeft + plotWidth*float64(d)/float64(h.length) }
	height := svgHeight + svgLineOfEvents*(len(events)+1)
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" %s fill=\"%s\">\n",
		svgWidth, height, svgWidth, height, svgFont, svgInk)
	fmt.Fprintf(&b, "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"20\" font-size=\"15\">Sessions at the server, by process; most at once: %d of %d</text>\n",
		svgLeft, h.most, limit)
	for n := 0; n <= top; n += 5 {
		fmt.Fprintf(&b, "<path d=\"M%d %.1fH%d\" stroke=\"%s\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d</text>\n",
			svgLeft, y(n), svgWidth-svgRight, svgGrid, svgLeft-6, y(n)+4, n)
	}
	columns := h.columns(svgColumns)
	base := make([]int, len(columns))
	for i, name := range names {
		fmt.Fprintf(&b, "<path fill=\"%s\" d=\"M%.1f %.1f", fillOf[i], x(0), y(base[0]))
		for j, c := range columns {
			fmt.Fprintf(&b, "V%.1fH%.1f", y(base[j]+c[i]), x(j+1))
		}
		for j := len(columns) - 1; j >= 0; j-- {
			fmt.Fprintf(&b, "V%.1fH%.1f", y(base[j]), x(j))
			base[j] += columns[j][i]
		}
		fmt.Fprintf(&b, "z\"><title>%s</title></path>\n", name)
		fmt.Fprintf(&b, "<rect x=\"%d\" y=\"28\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"37\">%s</text>\n",
			svgLeft+40*i, fillOf[i], svgLeft+40*i+14, name)
	}
	fmt.Fprintf(&b, "<path d=\"M%d %.1fH%d\" stroke=\"%s\" stroke-width=\"1.5\" stroke-dasharray=\"6 3\"/><text x=\"%d\" y=\"%.1f\" fill=\"%s\" text-anchor=\"end\">limit %d</text>\n",
		svgLeft, y(limit), svgWidth-svgRight, svgOver, svgWidth-svgRight, y(limit)-5, svgOver, limit)
	for i, e := range events {
		fmt.Fprintf(&b, "<path d=\"M%.1f %dV%d\" stroke=\"%s\" stroke-dasharray=\"2 3\"/><text x=\"%.1f\" y=\"%d\">%d</text>\n",
			at(e.at), svgTop, svgHeight-svgBottom, svgInk, at(e.at)+2, svgTop+10, i+1)
		text := fmt.Sprintf("%d. %s  %s", i+1, clock(e.at), e.what)
		if e.after != "" {
			text += "; " + e.after
		}
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\">%s</text>\n", svgLeft, svgHeight+svgLineOfEvents*(i+1)-8, html.EscapeString(text))
	}
	for s := time.Duration(0); s <= h.length; s += max(h.length/6, time.Second).Round(time.Second) {
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", at(s), svgHeight-svgBottom+16, clock(s))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
