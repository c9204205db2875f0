-- What a room shows of itself: its vCard (XEP-0486), and its hats and who has them (XEP-0317), each as an element.
ALTER TABLE room ADD COLUMN card TEXT;
ALTER TABLE room ADD COLUMN hats TEXT;
