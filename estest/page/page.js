'use strict';

// Everything that comes from the server is shown as text, never as HTML.

const refreshMillis = 1000;
const byId = (id) => document.getElementById(id);

let before = ''; // where the page of events ends; empty for the newest
let oldest = ''; // where the one behind it would
let shown = '';  // the last answer: what has not changed is not drawn again, so that text can be selected
let timer = 0;
let asked = 0;   // only the answer to the last question counts

const selected = () => decodeURIComponent(location.hash.slice(1));

// cell makes a table cell of a text, or of an element.
function cell(content, className) {
	const td = document.createElement('td');
	td.append(content);
	if (className) td.className = className;
	return td;
}

function row(...cells) {
	const tr = document.createElement('tr');
	tr.append(...cells);
	return tr;
}

function linkTo(stream) {
	const a = document.createElement('a');
	a.href = '#' + encodeURIComponent(stream);
	a.textContent = stream;
	return a;
}

const number = (n) => cell(n < 0 ? '–' : String(n), 'n');

function groupRow(g) {
	return row(cell(linkTo(g.stream)), cell(g.group), cell(g.strategy), number(g.clients), number(g.inFlight),
		number(g.waiting), number(g.retrying), number(g.parked), number(g.checkpoint));
}

function streamRow(s) {
	const tr = row(cell(linkTo(s.name)), number(s.events), number(s.first), number(s.last), cell(s.deleted ? 'deleted' : '', 'tight'));
	if (s.deleted) tr.className = 'gone';
	return tr;
}

function eventRow(e) {
	return row(number(e.position), cell(linkTo(e.stream)), number(e.number), cell(e.type), cell(e.created, 'tight'),
		cell(e.data, 'data'), cell(e.metadata, 'data'));
}

function show(state) {
	byId('version').textContent = state.version;
	byId('status').textContent = `${state.connections} connections, ${state.streamsTotal} streams, ${state.eventsTotal} events.`;
	byId('status').className = '';
	byId('groups').replaceChildren(...state.groups.map(groupRow));
	byId('streams').replaceChildren(...state.streams.map(streamRow));
	byId('more').textContent = state.more ? `The ${state.streams.length} that were written to last.` : '';
	byId('selected').textContent = selected() || 'all streams';
	byId('events').replaceChildren(...state.events.map(eventRow));
	oldest = state.oldest;
	byId('older').disabled = oldest === '';
	byId('newest').disabled = before === '';
}

async function update() {
	clearTimeout(timer);
	const question = ++asked;
	try {
		const query = new URLSearchParams({stream: selected(), before, filter: byId('filter').value});
		if (byId('system').checked) query.set('system', 'true');
		const response = await fetch('/estest/state?' + query, {cache: 'no-store'});
		if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
		const text = await response.text();
		if (question !== asked) return;
		if (text !== shown) {
			show(JSON.parse(text));
			shown = text;
		}
	} catch (error) {
		byId('status').textContent = `The server does not answer: ${error.message}`;
		byId('status').className = 'lost';
		shown = '';
	} finally {
		if (question === asked) timer = setTimeout(update, refreshMillis);
	}
}

function turnTo(position) {
	before = position;
	shown = '';
	update();
}

window.addEventListener('hashchange', () => turnTo(''));
byId('newest').addEventListener('click', () => turnTo(''));
byId('older').addEventListener('click', () => turnTo(oldest));
byId('filter').addEventListener('input', update);
byId('system').addEventListener('change', update);
update();
