/*
 * admin_page: what evhttp answers by itself, as JSON.
 *
 * Process: S. What is no request evhttp refuses with a page of HTML, before anybody else hears of
 * it, and libevent 2.1 has no call that gives it another page. So the page is replaced on its way
 * out: nothing else that is sent here is HTML.
 */
#ifndef MILLGATE_ADMIN_PAGE_H
#define MILLGATE_ADMIN_PAGE_H

struct bufferevent;

/* From now on, for this connection. Without memory it stays HTML. */
void admin_page_replace(struct bufferevent *client);

#endif
