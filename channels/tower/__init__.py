"""The watchtower: defends the channels of many customers, in one process or several as one.

`channels.tower.service.open_tower` is the tower, `channels.tower.book` what it keeps, and
`channels.tower.client` the customer's side. `channels.tower.replica` is one of several processes
that are one tower. The HTTP server needs the extra ``tower``, a database in PostgreSQL the extra
``postgres``; everything else here needs neither.

Source: design, watchtower.md "Service".
"""
