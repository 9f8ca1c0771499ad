-- Names the file as one of this program (`GPol`), so that no other program's file is taken for it.
PRAGMA application_id = 1196453740;
